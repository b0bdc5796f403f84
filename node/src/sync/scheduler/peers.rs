//! What the scheduler believes of each peer: claims, capacity, and what it was found not to have.
//!
//! Claims are hints. They say whom it makes sense to ask; a claim that is not served shrinks. Capacity (how fast) is
//! kept apart from trust (how honest), which the network layer owns.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use lapis_protocol_spec::{Height, MAX_CONCURRENT_REQUESTS, Method, Status};
use libp2p::PeerId;
use rand::Rng;

use super::action::Outcome;

/// Bytes in flight that an unknown peer is trusted to deliver.
const INITIAL_WINDOW: u64 = 4 * 1024 * 1024;
/// A window never falls below one item.
const MIN_WINDOW: u64 = 256 * 1024;
/// Nor does it grow beyond what fills a 1 Gbit/s link of 250 ms.
const MAX_WINDOW: u64 = 32 * 1024 * 1024;
/// Added to the window by every exchange that delivered all it was asked for.
const WINDOW_STEP: u64 = 512 * 1024;
/// Weight of the newest measurement in the delivery rate.
const RATE_WEIGHT: f64 = 0.3;
/// Rate assumed of a peer that has not delivered yet: high enough that it is tried.
const UNKNOWN_RATE: f64 = 50.0 * 1024.0 * 1024.0;
/// First wait after "does not have it"; doubles with each repetition for the same height.
const FIRST_LACK: Duration = Duration::from_millis(100);
/// Longest wait before a peer is asked again for what it lacked.
const LONGEST_LACK: Duration = Duration::from_secs(30);
/// How long a peer is not asked again for a height of which it sent something wrong.
const FAULT_EXCLUSION: Duration = Duration::from_secs(300);
/// First pause after a broken exchange; doubles while they keep breaking.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// Longest pause of a peer.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Heights that are remembered as lacking, per peer.
const MAX_LACKS: usize = 1024;

/// Kinds of data that a peer may hold for a height.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Decided values.
    Values,
    /// Payloads.
    Payloads,
    /// Blobs.
    Blobs,
}

#[derive(Clone, Copy, Debug)]
struct Lack {
    until: Instant,
    strikes: u32,
    /// It did not lack it, it sent something wrong.
    faulty: bool,
}

/// One peer as the scheduler sees it.
#[derive(Debug)]
pub(super) struct Peer {
    claims: Status,
    /// A height that the peer announced: it may have the data though its last status does not say so yet.
    announced: Height,
    in_flight: BTreeMap<Method, usize>,
    in_flight_bytes: u64,
    window: u64,
    /// Bytes per second, smoothed; `None` until something was delivered.
    rate: Option<f64>,
    paused_until: Option<Instant>,
    pauses: u32,
    lacks: BTreeMap<Height, Lack>,
}

impl Peer {
    fn new(claims: Status) -> Self {
        Self {
            claims,
            announced: 0,
            in_flight: BTreeMap::new(),
            in_flight_bytes: 0,
            window: INITIAL_WINDOW,
            rate: None,
            paused_until: None,
            pauses: 0,
            lacks: BTreeMap::new(),
        }
    }

    /// Highest decided height that the peer claims and has not failed to serve.
    pub(super) fn decided(&self) -> Height {
        self.claims.decided_height.max(self.announced)
    }

    /// Whether the peer claims to hold `kind` at `height`.
    fn claims(&self, kind: Kind, height: Height) -> bool {
        let last = match kind {
            Kind::Values => self.claims.decided_height,
            Kind::Payloads | Kind::Blobs => self.claims.available_height,
        };
        self.keeps(kind, height) && height <= last || (self.announced != 0 && height == self.announced)
    }

    /// Whether the peer, by what it has decided and not pruned, may hold parts of `height`.
    fn may_have_parts(&self, kind: Kind, height: Height) -> bool {
        self.keeps(kind, height) && height <= self.claims.decided_height
    }

    /// Whether `height` is not below the peer's floor for `kind`.
    fn keeps(&self, kind: Kind, height: Height) -> bool {
        let first = match kind {
            Kind::Values => self.claims.earliest_value_height,
            Kind::Payloads => self.claims.earliest_payload_height,
            Kind::Blobs => self.claims.earliest_blob_height,
        };
        // 0 stands for "nothing".
        first != 0 && first <= height
    }

    /// Whether the peer has just failed to deliver something of `height`.
    fn lacked_lately(&self, height: Height, now: Instant) -> bool {
        self.lacks.get(&height).is_some_and(|lack| lack.until > now)
    }

    /// Whether it makes sense to ask this peer for `kind` at `height` now.
    pub(super) fn may_serve(&self, kind: Kind, height: Height, now: Instant) -> bool {
        let may_have = self.claims(kind, height) || self.may_have_parts(kind, height);
        may_have && !self.lacked_lately(height, now)
    }

    /// Whether another exchange of `method` may be opened now.
    pub(super) fn is_free(&self, method: Method, now: Instant) -> bool {
        let open = self.in_flight.get(&method).copied().unwrap_or(0);
        open < MAX_CONCURRENT_REQUESTS && self.paused_until.is_none_or(|until| until <= now)
    }

    /// Bytes that may be asked for in addition to those in flight. An idle peer may always be asked for one item.
    pub(super) fn room(&self) -> u64 {
        if self.in_flight_bytes == 0 { self.window } else { self.window.saturating_sub(self.in_flight_bytes) }
    }

    /// Expected time until `bytes` more have arrived.
    fn expected(&self, bytes: u64) -> f64 {
        self.in_flight_bytes.saturating_add(bytes).max(1) as f64 / self.rate.unwrap_or(UNKNOWN_RATE).max(1.0)
    }

    fn lack(&mut self, height: Height, now: Instant, faulty: bool) {
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
        if self.paused_until.is_some_and(|until| until > now) {
            return;
        }
        let wait = FIRST_PAUSE.saturating_mul(1 << self.pauses.min(10)).min(LONGEST_PAUSE);
        self.paused_until = Some(now + wait);
        self.pauses = self.pauses.saturating_add(1);
        self.window = (self.window / 2).max(MIN_WINDOW);
    }
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

/// All peers that finished the handshake.
#[derive(Debug, Default)]
pub(super) struct PeerBook {
    peers: BTreeMap<PeerId, Peer>,
}

impl PeerBook {
    /// Adds a peer or takes its newer claims. What it lacked may have changed with them.
    pub(super) fn update(&mut self, id: PeerId, claims: Status) {
        match self.peers.get_mut(&id) {
            Some(peer) => {
                let news = peer.claims.available_height.saturating_add(1)..=claims.available_height;
                peer.lacks.retain(|height, lack| lack.faulty || !news.contains(height));
                peer.claims = claims;
            }
            None => {
                self.peers.insert(id, Peer::new(claims));
            }
        }
    }

    /// Forgets a peer.
    pub(super) fn remove(&mut self, id: &PeerId) {
        self.peers.remove(id);
    }

    /// `id` announced that `height` is decided.
    pub(super) fn announced(&mut self, id: &PeerId, height: Height) {
        if let Some(peer) = self.peers.get_mut(id) {
            peer.announced = peer.announced.max(height);
        }
    }

    /// Number of peers.
    pub(super) fn len(&self) -> usize {
        self.peers.len()
    }

    /// One peer.
    pub(super) fn peer(&self, id: &PeerId) -> Option<&Peer> {
        self.peers.get(id)
    }

    /// Whether any peer claims `kind` at `height`, busy or not.
    pub(super) fn anyone_claims(&self, kind: Kind, height: Height) -> bool {
        self.peers.values().any(|peer| peer.claims(kind, height))
    }

    /// Whether any peer can be asked by one of `methods` now.
    pub(super) fn anyone_is_free(&self, methods: &[Method], now: Instant) -> bool {
        self.peers.values().any(|peer| methods.iter().any(|method| peer.is_free(*method, now)))
    }

    /// The height that the network seems to have reached: the median of the claims, the lower one of two.
    ///
    /// A minority of liars cannot move it beyond what honest peers claim; nothing but progress displays depend on it.
    pub(super) fn corroborated_head(&self) -> Height {
        let mut claims: Vec<Height> = self.peers.values().map(|peer| peer.claims.decided_height).collect();
        claims.sort_unstable_by(|a, b| b.cmp(a));
        claims.get(claims.len() / 2).copied().unwrap_or(0)
    }

    /// Chooses whom to ask for `bytes` of `kind` at `height` by `method`: two of the candidates at random, the better
    /// of them by expected completion.
    pub(super) fn choose(
        &self,
        kind: Kind,
        height: Height,
        method: Method,
        bytes: u64,
        now: Instant,
        rng: &mut impl Rng,
    ) -> Option<PeerId> {
        let free = |peer: &Peer| peer.is_free(method, now) && (peer.room() >= bytes || peer.in_flight_bytes == 0);
        let among = |serves: fn(&Peer, Kind, Height) -> bool| -> Vec<(&PeerId, &Peer)> {
            let fits = |peer: &Peer| serves(peer, kind, height) && !peer.lacked_lately(height, now) && free(peer);
            self.peers.iter().filter(|(_, peer)| fits(peer)).collect()
        };
        let mut candidates = among(Peer::claims);
        // Where nobody claims to have a height whole, some may have parts of it.
        if candidates.is_empty() && !self.anyone_claims(kind, height) {
            candidates = among(Peer::may_have_parts);
        }
        let count = candidates.len();
        if count == 0 {
            return None;
        }
        let first = candidates.get(rng.random_range(0..count))?;
        let second = candidates.get(rng.random_range(0..count))?;
        let better = if first.1.expected(bytes) <= second.1.expected(bytes) { first } else { second };
        Some(*better.0)
    }

    /// An exchange starts.
    pub(super) fn started(&mut self, id: &PeerId, method: Method, bytes: u64) {
        if let Some(peer) = self.peers.get_mut(id) {
            *peer.in_flight.entry(method).or_insert(0) += 1;
            peer.in_flight_bytes += bytes;
        }
    }

    /// An exchange ended.
    pub(super) fn ended(&mut self, id: &PeerId, method: Method, delivery: Delivery, now: Instant) {
        let Some(peer) = self.peers.get_mut(id) else { return };
        if let Some(open) = peer.in_flight.get_mut(&method) {
            *open = open.saturating_sub(1);
        }
        peer.in_flight_bytes = peer.in_flight_bytes.saturating_sub(delivery.asked);
        // Silence is a measurement too: a peer that never answered must not look better than one that did.
        let measures = delivery.arrived > 0 || delivery.outcome == Outcome::Broken;
        if measures && !delivery.elapsed.is_zero() {
            let measured = delivery.arrived as f64 / delivery.elapsed.as_secs_f64();
            let rate = peer.rate.unwrap_or(measured);
            peer.rate = Some(rate + RATE_WEIGHT * (measured - rate));
        }
        match delivery.outcome {
            Outcome::Answered => {
                peer.pauses = 0;
                if delivery.arrived >= delivery.asked {
                    peer.window = (peer.window + WINDOW_STEP).min(MAX_WINDOW);
                }
            }
            Outcome::Broken | Outcome::RateLimited | Outcome::Faulty => peer.pause(now),
            Outcome::Unavailable | Outcome::Local => {}
        }
    }

    /// The peer did not deliver something of `height`: it is not asked for that again for a while.
    pub(super) fn lacks(&mut self, id: &PeerId, height: Height, outcome: Outcome, now: Instant) {
        let faulty = match outcome {
            Outcome::Faulty => true,
            Outcome::Local => return,
            Outcome::Answered | Outcome::Unavailable | Outcome::RateLimited | Outcome::Broken => false,
        };
        if let Some(peer) = self.peers.get_mut(id) {
            peer.lack(height, now, faulty);
        }
    }

    /// The peer claimed decided values that it did not serve: the claim shrinks to `held`.
    pub(super) fn shrink_values(&mut self, id: &PeerId, held: Height) {
        if let Some(peer) = self.peers.get_mut(id) {
            peer.claims.decided_height = peer.claims.decided_height.min(held);
            peer.announced = peer.announced.min(held);
        }
    }

    /// `height` is complete: nothing about it needs to be remembered.
    pub(super) fn forget_height(&mut self, height: Height) {
        for peer in self.peers.values_mut() {
            peer.lacks.remove(&height);
        }
    }
}
