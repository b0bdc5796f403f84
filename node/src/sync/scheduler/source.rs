//! One source as the scheduler sees it: what it claims, how much it may have in flight, what it was found not to have.
//!
//! A window bounds the bytes in flight: it begins small, grows by what is asked while all goes well, later by a step, and
//! is halved by what breaks and by answers that take long. So a source has no more in flight than it delivers within
//! seconds, and one that nobody knows is not trusted with much.

mod lacks;
mod pace;

use std::{
    collections::{BTreeMap, HashSet},
    time::{Duration, Instant},
};

use lapis_protocol_spec::{Height, MAX_CONCURRENT_REQUESTS, Method};
use libp2p::PeerId;

use self::lacks::Lacks;
pub(super) use self::pace::{LEAST_WAIT, Pace};
use super::{
    action::Outcome,
    claims::{Claims, Kind},
    data::SIDECAR_BYTES,
};
use crate::back_off::doubled;

/// Bytes in flight to a source that is still to show how fast it is.
const FIRST_WINDOW: u64 = 10 * SIDECAR_BYTES;
/// Bytes in flight to one that has just shown it.
const INITIAL_WINDOW: u64 = 2 * 1024 * 1024;
/// A window never falls below one item.
const MIN_WINDOW: u64 = 256 * 1024;
/// Nor does it grow beyond what fills a 1 Gbit/s link of 250 ms.
const MAX_WINDOW: u64 = 32 * 1024 * 1024;
/// Added to the window by every exchange that delivered all it was asked for.
const WINDOW_STEP: u64 = 512 * 1024;
/// An answer that takes longer was too much to ask for: the window falls, once in that time.
const LONG_ANSWER: Duration = Duration::from_secs(2);
/// Who has no place for another exchange, and with whom nothing has happened for so long, is not waited for.
const STUCK: Duration = Duration::from_millis(500);
/// First pause after a broken exchange; doubles while they keep breaking.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// Longest pause of a source.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// After so many answers in a row that lack part of what it claims, a source is left alone for a while: each of them tears
/// up heights that others would have given whole.
const TOLERATED_SHORT_ANSWERS: u32 = 2;
/// One source as the scheduler sees it.
#[derive(Debug)]
pub(super) struct Source {
    /// What it claims.
    pub(super) claims: Claims,
    in_flight: BTreeMap<Method, usize>,
    in_flight_bytes: u64,
    /// When it was asked for something or sent something last.
    active: Option<Instant>,
    window: u64,
    /// Nothing has gone wrong yet: the window grows fast.
    is_starting: bool,
    /// When the window fell last because of a long answer.
    shrunk: Option<Instant>,
    pace: Pace,
    paused_until: Option<Instant>,
    pauses: u32,
    /// Answers in a row that lacked something.
    short_answers: u32,
    lacks: Lacks,
    /// Methods that it does not speak.
    unspoken: HashSet<Method>,
}

impl Source {
    pub(super) fn new(claims: Claims) -> Self {
        Self {
            claims,
            in_flight: BTreeMap::new(),
            in_flight_bytes: 0,
            active: None,
            window: INITIAL_WINDOW,
            is_starting: true,
            shrunk: None,
            pace: Pace::default(),
            paused_until: None,
            pauses: 0,
            short_answers: 0,
            lacks: Lacks::default(),
            unspoken: HashSet::new(),
        }
    }

    /// Whether it claims `kind` at `height` and nothing speaks against asking it, but that it may be busy.
    pub(super) fn is_able(&self, kind: Kind, height: Height, now: Instant) -> bool {
        self.claims.covers(kind, height)
            && !self.lacked_lately(height, now)
            && !self.is_paused(now)
            && self.speaks(kind)
    }

    /// Whether it claims `kind` at `height` and has not shown that it will not serve it.
    pub(super) fn is_promising(&self, kind: Kind, height: Height) -> bool {
        self.claims.covers(kind, height) && !self.lacks.will_not_serve(height) && self.speaks(kind)
    }

    /// Whether it speaks what `kind` is asked for by.
    pub(super) fn speaks(&self, kind: Kind) -> bool {
        kind.methods().iter().all(|method| self.knows(*method))
    }

    /// Whether it speaks `method`, as far as is known.
    pub(super) fn knows(&self, method: Method) -> bool {
        !self.unspoken.contains(&method)
    }

    /// Whether it has just failed to deliver something of `height`.
    pub(super) fn lacked_lately(&self, height: Height, now: Instant) -> bool {
        self.lacks.is_recent(height, now)
    }

    /// Whether it has failed to deliver something of `height`, however long ago, and nothing has changed since.
    pub(super) fn has_lacked(&self, height: Height) -> bool {
        self.lacks.has(height)
    }

    /// Whether it makes sense to ask this source for `kind` at `height` now.
    pub(super) fn may_serve(&self, kind: Kind, height: Height, now: Instant) -> bool {
        let may_have = self.claims.covers(kind, height) || self.claims.may_have_parts(kind, height);
        may_have && !self.lacked_lately(height, now) && self.speaks(kind)
    }

    /// Whether another exchange of `method` may be opened now.
    pub(super) fn is_free(&self, method: Method, now: Instant) -> bool {
        let open = self.in_flight.get(&method).copied().unwrap_or(0);
        open < MAX_CONCURRENT_REQUESTS && !self.is_paused(now) && self.knows(method)
    }

    /// Whether it is vain to wait until another exchange of `method` may be opened.
    pub(super) fn is_stuck(&self, method: Method, now: Instant) -> bool {
        let is_silent = self.active.is_none_or(|active| now.saturating_duration_since(active) >= STUCK);
        is_silent && !self.is_free(method, now)
    }

    fn is_paused(&self, now: Instant) -> bool {
        self.paused_until.is_some_and(|until| until > now)
    }

    /// Bytes that may be asked for in addition to those in flight. An idle source may always be asked for one item.
    pub(super) fn room(&self) -> u64 {
        let window = if self.pace.is_measured() { self.window } else { FIRST_WINDOW };
        window.saturating_sub(self.in_flight_bytes)
    }

    /// Bytes that it may be asked for at once, where `least` are worth a request: no more than it sends before its answer
    /// becomes a long one. What somebody slow holds of the heights to come, nobody else is asked for. A few payloads of a
    /// stranger are many heights.
    pub(super) fn trusted_with(&self, kind: Kind, least: u64) -> u64 {
        match (self.pace.bytes_in(LONG_ANSWER), kind) {
            (Some(most), _) => self.room().min(most).max(least),
            (None, Kind::Payloads) => self.room().min(MIN_WINDOW),
            (None, Kind::Values | Kind::Blobs) => self.room(),
        }
    }

    /// Bytes that one request to it asks for at most, where `usual` are asked for of somebody near and `most` of anybody.
    pub(super) fn request_bytes(&self, usual: u64, most: u64) -> u64 {
        if self.pace.is_far(usual) { most } else { usual }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.in_flight_bytes == 0
    }

    /// Bytes asked for that have not arrived.
    pub(super) fn in_flight_bytes(&self) -> u64 {
        self.in_flight_bytes
    }

    /// Whether anything is known of how fast it is now.
    pub(super) fn is_known(&self, now: Instant) -> bool {
        self.pace.is_known(now)
    }

    /// Its pace.
    pub(super) fn pace(&self) -> &Pace {
        &self.pace
    }

    /// Exchanges that are open with it.
    pub(super) fn open(&self) -> usize {
        self.in_flight.values().sum()
    }

    /// Expected time until `bytes` more have arrived, in seconds.
    pub(super) fn expected(&self, bytes: u64) -> f64 {
        self.pace.expected(self.in_flight_bytes.saturating_add(bytes))
    }

    /// It did not deliver something of `height`: it is not asked for that again for a while.
    pub(super) fn lack(&mut self, height: Height, outcome: Outcome, now: Instant) {
        self.lacks.note(height, outcome, now);
    }

    /// Exchanges that broke together count as one.
    fn pause(&mut self, now: Instant) {
        if self.is_paused(now) {
            return;
        }
        let wait = doubled(FIRST_PAUSE, self.pauses, LONGEST_PAUSE);
        self.paused_until = Some(now + wait);
        self.pauses = self.pauses.saturating_add(1);
        self.halve();
    }

    fn halve(&mut self) {
        self.is_starting = false;
        self.window = (self.window / 2).max(MIN_WINDOW);
    }

    /// An exchange starts.
    pub(super) fn started(&mut self, method: Method, bytes: u64, now: Instant) {
        self.active = Some(now);
        *self.in_flight.entry(method).or_insert(0) += 1;
        self.in_flight_bytes += bytes;
    }

    /// An item of `bytes` bytes arrived, for which `reserved` bytes were in flight; `waited` since the request if it is
    /// the first of its exchange.
    pub(super) fn received(&mut self, bytes: u64, reserved: u64, waited: Option<Duration>, now: Instant) {
        self.active = Some(now);
        self.in_flight_bytes = self.in_flight_bytes.saturating_sub(reserved);
        self.pace.received(bytes, waited, now);
    }

    /// What it sent fails verification: it is as good as nothing.
    pub(super) fn sent_garbage(&mut self, now: Instant) {
        self.pace.delivered_nothing(now);
    }

    /// An exchange ended.
    pub(super) fn ended(&mut self, method: Method, delivery: Delivery, now: Instant) {
        if let Some(open) = self.in_flight.get_mut(&method) {
            *open = open.saturating_sub(1);
        }
        self.in_flight_bytes = self.in_flight_bytes.saturating_sub(delivery.unarrived);
        let is_over = self.open() == 0;
        self.pace.ended(&delivery, is_over, now);
        match delivery.outcome {
            Outcome::Answered if delivery.is_short => {
                self.short_answers = self.short_answers.saturating_add(1);
                if self.short_answers > TOLERATED_SHORT_ANSWERS {
                    self.pause(now);
                }
            }
            Outcome::Answered => {
                (self.pauses, self.short_answers) = (0, 0);
                self.adapt(&delivery, now);
            }
            // Silence is cancelled long before it times out where somebody else is faster.
            Outcome::Outrun if delivery.arrived > 0 => self.halve(),
            Outcome::Outrun if !delivery.is_silence() => {}
            Outcome::Broken | Outcome::RateLimited | Outcome::Faulty | Outcome::Outrun => self.pause(now),
            Outcome::Unsupported => {
                self.unspoken.insert(method);
            }
            // Whoever claims what it does not have must not look better than those who deliver.
            Outcome::Unavailable => self.pace.delivered_nothing(now),
            Outcome::Local => {}
        }
    }

    fn adapt(&mut self, delivery: &Delivery, now: Instant) {
        let shrunk_lately = self.shrunk.is_some_and(|at| now.saturating_duration_since(at) < LONG_ANSWER);
        if delivery.elapsed > LONG_ANSWER {
            if !shrunk_lately {
                self.shrunk = Some(now);
                self.halve();
            }
        } else if delivery.arrived >= delivery.asked {
            let step = if self.is_starting { delivery.asked.max(WINDOW_STEP) } else { WINDOW_STEP };
            self.window = self.window.saturating_add(step).min(MAX_WINDOW);
        }
    }

    /// Takes newer claims. What it lacked may have changed with them.
    pub(super) fn update(&mut self, claims: Claims) {
        self.lacks.believe(|height| claims.is_news(&self.claims, height));
        self.claims = claims;
    }

    /// What it was measured to deliver.
    pub(super) fn capacity(&self, peer: PeerId) -> PeerCapacity {
        PeerCapacity {
            peer,
            bytes_per_second: self.pace.bytes_per_second(),
            window_bytes: self.window,
            in_flight_bytes: self.in_flight_bytes,
        }
    }

    /// `height` is complete: nothing about it needs to be remembered.
    pub(super) fn forget(&mut self, height: Height) {
        self.lacks.forget(height);
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
    /// Those of them that are still reserved.
    pub(super) unarrived: u64,
    /// Bytes that arrived.
    pub(super) arrived: u64,
    /// It lacked some of the items that the source claims.
    pub(super) is_short: bool,
    /// How long it took.
    pub(super) elapsed: Duration,
}

impl Delivery {
    /// Whether nothing came in a time in which something should have. Nobody is late before [`LEAST_WAIT`]: whoever was
    /// outrun by then was asked second, and the first one came after all.
    fn is_silence(&self) -> bool {
        let is_late = match self.outcome {
            Outcome::Broken => true,
            Outcome::Outrun => self.elapsed >= LEAST_WAIT,
            _ => false,
        };
        self.arrived == 0 && is_late
    }
}

#[cfg(test)]
mod tests;
