//! One source as the scheduler sees it: what it claims, how much it may have in flight, what it was found not to have.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use lapis_protocol_spec::{Height, MAX_CONCURRENT_REQUESTS, Method};
use libp2p::PeerId;

use super::{
    action::Outcome,
    claims::{Claims, Kind},
};

/// Bytes in flight that an unknown source is trusted to deliver.
const INITIAL_WINDOW: u64 = 4 * 1024 * 1024;
/// A window never falls below one item.
const MIN_WINDOW: u64 = 256 * 1024;
/// Nor does it grow beyond what fills a 1 Gbit/s link of 250 ms.
const MAX_WINDOW: u64 = 32 * 1024 * 1024;
/// Added to the window by every exchange that delivered all it was asked for.
const WINDOW_STEP: u64 = 512 * 1024;
/// Weight of the newest measurement in the delivery rate.
const RATE_WEIGHT: f64 = 0.3;
/// Rate assumed of a source that has not delivered yet: high enough that it is tried.
const UNKNOWN_RATE: f64 = 50.0 * 1024.0 * 1024.0;
/// First wait after "does not have it"; doubles with each repetition for the same height.
const FIRST_LACK: Duration = Duration::from_millis(100);
/// Longest wait before a source is asked again for what it lacked.
const LONGEST_LACK: Duration = Duration::from_secs(30);
/// How long a source is not asked again for a height of which it sent something wrong.
const FAULT_EXCLUSION: Duration = Duration::from_secs(300);
/// First pause after a broken exchange; doubles while they keep breaking.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// Longest pause of a source.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Heights that are remembered as lacking, per source.
const MAX_LACKS: usize = 1024;

#[derive(Clone, Copy, Debug)]
struct Lack {
    until: Instant,
    strikes: u32,
    /// It did not lack it, it sent something wrong.
    faulty: bool,
}

/// One source as the scheduler sees it.
#[derive(Debug)]
pub(super) struct Source {
    /// What it claims.
    pub(super) claims: Claims,
    in_flight: BTreeMap<Method, usize>,
    in_flight_bytes: u64,
    window: u64,
    /// Bytes per second, smoothed; `None` until something was delivered.
    rate: Option<f64>,
    paused_until: Option<Instant>,
    pauses: u32,
    lacks: BTreeMap<Height, Lack>,
}

impl Source {
    pub(super) fn new(claims: Claims) -> Self {
        Self {
            claims,
            in_flight: BTreeMap::new(),
            in_flight_bytes: 0,
            window: INITIAL_WINDOW,
            rate: None,
            paused_until: None,
            pauses: 0,
            lacks: BTreeMap::new(),
        }
    }

    /// Whether it claims `kind` at `height` and nothing speaks against asking it, but that it may be busy.
    pub(super) fn is_able(&self, kind: Kind, height: Height, now: Instant) -> bool {
        self.claims.covers(kind, height) && !self.lacked_lately(height, now) && !self.is_paused(now)
    }

    /// Whether it has just failed to deliver something of `height`.
    pub(super) fn lacked_lately(&self, height: Height, now: Instant) -> bool {
        self.lacks.get(&height).is_some_and(|lack| lack.until > now)
    }

    /// Whether it has failed to deliver something of `height`, however long ago, and nothing has changed since.
    pub(super) fn has_lacked(&self, height: Height) -> bool {
        self.lacks.contains_key(&height)
    }

    /// Whether it makes sense to ask this source for `kind` at `height` now.
    pub(super) fn may_serve(&self, kind: Kind, height: Height, now: Instant) -> bool {
        let may_have = self.claims.covers(kind, height) || self.claims.may_have_parts(kind, height);
        may_have && !self.lacked_lately(height, now)
    }

    /// Whether another exchange of `method` may be opened now.
    pub(super) fn is_free(&self, method: Method, now: Instant) -> bool {
        let open = self.in_flight.get(&method).copied().unwrap_or(0);
        open < MAX_CONCURRENT_REQUESTS && !self.is_paused(now)
    }

    fn is_paused(&self, now: Instant) -> bool {
        self.paused_until.is_some_and(|until| until > now)
    }

    /// Bytes that may be asked for in addition to those in flight. An idle source may always be asked for one item.
    pub(super) fn room(&self) -> u64 {
        if self.is_idle() { self.window } else { self.window.saturating_sub(self.in_flight_bytes) }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.in_flight_bytes == 0
    }

    /// Expected time until `bytes` more have arrived.
    pub(super) fn expected(&self, bytes: u64) -> f64 {
        self.in_flight_bytes.saturating_add(bytes).max(1) as f64 / self.rate.unwrap_or(UNKNOWN_RATE).max(1.0)
    }

    pub(super) fn lack(&mut self, height: Height, now: Instant, faulty: bool) {
        let known = self.lacks.get(&height);
        let strikes = known.map_or(0, |lack| lack.strikes.saturating_add(1));
        let faulty = faulty || known.is_some_and(|lack| lack.faulty);
        let doubled = FIRST_LACK.saturating_mul(1 << strikes.min(10)).min(LONGEST_LACK);
        let wait = if faulty { FAULT_EXCLUSION } else { doubled };
        self.lacks.insert(height, Lack { until: now + wait, strikes, faulty });
        if self.lacks.len() > MAX_LACKS {
            self.lacks.retain(|_, lack| lack.until > now);
        }
        while self.lacks.len() > MAX_LACKS {
            let Some((&soonest, _)) = self.lacks.iter().min_by_key(|(_, lack)| lack.until) else { return };
            self.lacks.remove(&soonest);
        }
    }

    /// Exchanges that broke together count as one.
    fn pause(&mut self, now: Instant) {
        if self.is_paused(now) {
            return;
        }
        let wait = FIRST_PAUSE.saturating_mul(1 << self.pauses.min(10)).min(LONGEST_PAUSE);
        self.paused_until = Some(now + wait);
        self.pauses = self.pauses.saturating_add(1);
        self.window = (self.window / 2).max(MIN_WINDOW);
    }

    /// An exchange starts.
    pub(super) fn started(&mut self, method: Method, bytes: u64) {
        *self.in_flight.entry(method).or_insert(0) += 1;
        self.in_flight_bytes += bytes;
    }

    /// An exchange ended.
    pub(super) fn ended(&mut self, method: Method, delivery: Delivery, now: Instant) {
        if let Some(open) = self.in_flight.get_mut(&method) {
            *open = open.saturating_sub(1);
        }
        self.in_flight_bytes = self.in_flight_bytes.saturating_sub(delivery.asked);
        // Silence is a measurement too: a source that never answered must not look better than one that did.
        let measures = delivery.arrived > 0 || delivery.outcome == Outcome::Broken;
        if measures && !delivery.elapsed.is_zero() {
            let measured = delivery.arrived as f64 / delivery.elapsed.as_secs_f64();
            let rate = self.rate.unwrap_or(measured);
            self.rate = Some(rate + RATE_WEIGHT * (measured - rate));
        }
        match delivery.outcome {
            Outcome::Answered => {
                self.pauses = 0;
                if delivery.arrived >= delivery.asked {
                    self.window = (self.window + WINDOW_STEP).min(MAX_WINDOW);
                }
            }
            Outcome::Broken | Outcome::RateLimited | Outcome::Faulty => self.pause(now),
            Outcome::Unavailable | Outcome::Local => {}
        }
    }

    /// Takes newer claims. What it lacked may have changed with them.
    pub(super) fn update(&mut self, claims: Claims) {
        self.lacks.retain(|height, lack| lack.faulty || !claims.is_news(&self.claims, *height));
        self.claims = claims;
    }

    /// What it was measured to deliver.
    pub(super) fn capacity(&self, peer: PeerId) -> PeerCapacity {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rate is neither negative nor huge"
        )]
        let bytes_per_second = self.rate.map(|rate| rate as u64);
        PeerCapacity { peer, bytes_per_second, window_bytes: self.window, in_flight_bytes: self.in_flight_bytes }
    }

    /// `height` is complete: nothing about it needs to be remembered.
    pub(super) fn forget(&mut self, height: Height) {
        self.lacks.remove(&height);
    }
}

/// What a peer was measured to deliver, and what it is trusted with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerCapacity {
    /// Who.
    pub peer: PeerId,
    /// How fast it delivers, smoothed; `None` until it has delivered anything.
    pub bytes_per_second: Option<u64>,
    /// Most bytes that are asked of it at a time.
    pub window_bytes: u64,
    /// Bytes that it is asked for now.
    pub in_flight_bytes: u64,
}

/// Result of an exchange as far as capacity is concerned.
#[derive(Clone, Copy, Debug)]
pub(super) struct Delivery {
    /// How it ended.
    pub(super) outcome: Outcome,
    /// Bytes reserved for it.
    pub(super) asked: u64,
    /// Bytes that arrived.
    pub(super) arrived: u64,
    /// How long it took.
    pub(super) elapsed: Duration,
}

#[cfg(test)]
mod tests;
