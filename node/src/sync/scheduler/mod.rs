//! The sync scheduler: decides what to ask whom. Pure: no IO, no clock, no random source of its own.
//!
//! It is told what happened (a peer came, an exchange ended, an item was stored) and asked what to do
//! ([`Scheduler::poll`]). All state of the sync is here; the driver holds only sockets and buffers.
//!
//! Heights are worked on in ascending order, each item on its own: the blobs of one height may come from several peers,
//! and a retry asks only for what is still missing, from a peer that has not just failed to deliver it.

mod action;
mod data;
mod peers;
mod values;

use std::{
    collections::{BTreeMap, HashSet},
    ops::Range,
    time::{Duration, Instant},
};

use lapis_protocol_spec::{Bytes32, Height, Method, Status};
use libp2p::PeerId;
use rand::Rng;

pub use self::{
    action::{Action, Fetch, Item, Outcome, RequestId},
    data::{Missing, SIDECAR_BYTES},
};
use self::{
    data::{DataLane, Proposal},
    peers::{Delivery, Kind, PeerBook},
    values::ValuesLane,
};

/// How requests are spread over time and peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pacing {
    /// As much as peers deliver and memory takes.
    Adaptive,
    /// The Soma design, for comparison: one request at a time, this long apart.
    Fixed(Duration),
}

/// Bounds of the scheduler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SchedulerConfig {
    /// Bytes asked for or received and not yet stored.
    pub max_buffered_bytes: u64,
    /// Bytes that one request asks for, unless a single item is larger.
    pub max_request_bytes: u64,
    /// How far above the imported height data is fetched.
    pub max_heights_ahead: u64,
    /// Incomplete heights held in memory.
    pub max_loaded_heights: usize,
    /// Pacing of requests.
    pub pacing: Pacing,
    /// Whether decided values are fetched from peers (they may come from a local source instead).
    pub follow: bool,
}

impl Default for SchedulerConfig {
    fn default() -> Self {
        Self {
            max_buffered_bytes: 64 * 1024 * 1024,
            max_request_bytes: 4 * 1024 * 1024,
            max_heights_ahead: 1000,
            max_loaded_heights: 512,
            pacing: Pacing::Adaptive,
            follow: true,
        }
    }
}

/// A busy peer is given another request only if this much of its window is free (or the request is smaller).
const LEAST_REQUEST_BYTES: u64 = 8 * SIDECAR_BYTES;

/// Why nothing more can be asked for, though something is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Blocked {
    /// No peer is connected.
    NoPeers,
    /// No connected peer claims to have this.
    NoPeerHas(Range<Height>),
    /// Peers that have it are busy, paused or just failed to deliver it.
    PeersBusy(Range<Height>),
    /// The byte budget is used up by what waits for verification or the store.
    BufferFull,
    /// Import is too far behind.
    ImporterBehind,
}

/// An exchange that the scheduler asked for.
#[derive(Debug)]
struct Flight {
    peer: PeerId,
    method: Method,
    items: Vec<Item>,
    bytes: u64,
    started: Instant,
}

/// What a finished exchange brought.
#[derive(Debug)]
pub struct Report {
    /// How it ended.
    pub outcome: Outcome,
    /// Items that arrived and match (they are in verification now).
    pub received: HashSet<Item>,
    /// Decided values that arrived in order from the first asked for.
    pub values: u64,
    /// Payload bytes that arrived.
    pub bytes: u64,
}

/// The scheduler's state.
#[derive(Debug)]
pub struct Scheduler {
    config: SchedulerConfig,
    book: PeerBook,
    values: ValuesLane,
    data: DataLane,
    imported: Height,
    wanted_set: Option<Bytes32>,
    set_in_flight: bool,
    flights: BTreeMap<RequestId, Flight>,
    next_id: u64,
    last_start: Option<Instant>,
    blocked: Option<Blocked>,
}

impl Scheduler {
    /// A node whose store has decided up to `decided`, lacks nothing up to `available` and imported up to `imported`.
    pub fn new(config: SchedulerConfig, decided: Height, available: Height, imported: Height) -> Self {
        Self {
            config,
            book: PeerBook::default(),
            values: ValuesLane::new(decided),
            data: DataLane::new(available),
            imported,
            wanted_set: None,
            set_in_flight: false,
            flights: BTreeMap::new(),
            next_id: 0,
            last_start: None,
            blocked: None,
        }
    }

    /// A peer finished the handshake, or sent a newer status.
    pub fn peer_status(&mut self, peer: PeerId, status: Status) {
        self.book.update(peer, status);
    }

    /// A peer announced a decided height.
    pub fn peer_announced(&mut self, peer: &PeerId, height: Height) {
        self.book.announced(peer, height);
    }

    /// A peer is gone. Its exchanges still have to be reported as finished.
    pub fn peer_gone(&mut self, peer: &PeerId) {
        self.book.remove(peer);
    }

    /// Number of usable peers.
    pub fn peers(&self) -> usize {
        self.book.len()
    }

    /// The height that the network seems to have reached; never below our own.
    pub fn target(&self) -> Height {
        self.book.corroborated_head().max(self.values.decided())
    }

    /// Bytes asked for or received and not yet stored.
    pub fn buffered_bytes(&self) -> u64 {
        self.data.reserved()
    }

    /// Exchanges in flight.
    pub fn in_flight(&self) -> usize {
        self.flights.len()
    }

    /// Why the last poll could not ask for all that is missing.
    pub fn blocked(&self) -> Option<&Blocked> {
        self.blocked.as_ref()
    }

    /// Whether a value announced for `height` is the next one and not on its way already.
    pub fn wants_value(&self, height: Height) -> bool {
        self.values.wants(height)
    }

    /// Ranges of values that were fetched and are not committed yet.
    pub fn set_held_values(&mut self, held: Vec<Range<Height>>) {
        self.values.set_held(held);
    }

    /// A value that `peer` sent is not certified: ask somebody else.
    pub fn faulty_value(&mut self, peer: &PeerId, height: Height, now: Instant) {
        self.book.lacks(peer, height, Outcome::Faulty, now);
    }

    /// A commit waits for this validator set.
    pub fn want_validator_set(&mut self, root: Bytes32) {
        self.wanted_set = Some(root);
    }

    /// Whether commits wait for a validator set.
    pub fn waits_for_validator_set(&self) -> bool {
        self.wanted_set.is_some()
    }

    /// The set waited for is in the store.
    pub fn have_validator_set(&mut self) {
        self.wanted_set = None;
    }

    /// The decided watermark moved.
    pub fn set_decided(&mut self, decided: Height) {
        self.values.set_decided(decided);
    }

    /// The imported watermark moved.
    pub fn set_imported(&mut self, imported: Height) {
        self.imported = self.imported.max(imported);
    }

    /// Heights whose gaps should be loaded from the store now, if the window has room for more.
    pub fn wants_load(&self) -> Option<Range<Height>> {
        let room = self.config.max_loaded_heights.saturating_sub(self.data.len());
        let start = self.data.loaded_to().saturating_add(1);
        let ahead = self.imported.saturating_add(self.config.max_heights_ahead);
        let end = self.values.decided().min(ahead).saturating_add(1);
        (room > 0 && start < end).then(|| start..end.min(start.saturating_add(room as u64)))
    }

    /// What the store says is missing in the heights up to `loaded_to`.
    pub fn load(&mut self, missing: Vec<Missing>, loaded_to: Height) {
        self.data.load(missing, loaded_to);
    }

    /// The store lost rows at `height` (damage): look there again.
    pub fn reload_from(&mut self, height: Height) {
        self.data.reload_from(height);
    }

    /// Blobs below `floor` are no longer wanted.
    pub fn waive_blobs_below(&mut self, floor: Height) {
        self.data.waive_blobs_below(floor);
    }

    /// An item is in the store.
    pub fn stored(&mut self, item: Item) {
        if self.data.stored(item) {
            self.book.forget_height(item.height());
        }
    }

    /// An item that `peer` sent failed verification: ask somebody else.
    pub fn faulty(&mut self, peer: &PeerId, item: Item, now: Instant) {
        self.data.lost(item);
        self.book.lacks(peer, item.height(), Outcome::Faulty, now);
    }

    /// An item was verified but could not be stored.
    pub fn not_stored(&mut self, item: Item) {
        self.data.lost(item);
    }

    /// An exchange ended. Gives the peer and the range if it was one for values.
    pub fn finished(&mut self, id: RequestId, report: &Report, now: Instant) -> Option<(PeerId, Range<Height>)> {
        let flight = self.flights.remove(&id)?;
        let delivery = Delivery {
            outcome: report.outcome,
            asked: flight.bytes,
            arrived: report.bytes,
            elapsed: now.saturating_duration_since(flight.started),
        };
        self.book.ended(&flight.peer, flight.method, delivery, now);
        match flight.method {
            Method::DecidedValuesByRange => self.values_finished(id, &flight, report, now),
            Method::ValidatorSetByRoot => {
                self.set_in_flight = false;
                None
            }
            _ => {
                for height in self.data.finish(id, &flight.items, &report.received) {
                    self.book.lacks(&flight.peer, height, report.outcome, now);
                }
                None
            }
        }
    }

    fn values_finished(
        &mut self,
        id: RequestId,
        flight: &Flight,
        report: &Report,
        now: Instant,
    ) -> Option<(PeerId, Range<Height>)> {
        let (peer, heights) = self.values.finished(id, report.values, report.bytes)?;
        let served_to = heights.start.saturating_add(report.values);
        if served_to < heights.end {
            self.book.lacks(&flight.peer, served_to, report.outcome, now);
            if matches!(report.outcome, Outcome::Answered | Outcome::Unavailable) {
                self.book.shrink_values(&flight.peer, served_to.saturating_sub(1));
            }
        }
        Some((peer, heights))
    }

    /// What to do now. Call again after every input, and at least every [`Scheduler::TICK`] while something is missing.
    pub fn poll(&mut self, now: Instant, rng: &mut impl Rng) -> Vec<Action> {
        let mut actions = Vec::new();
        self.blocked = None;
        if !self.paced(now) {
            return actions;
        }
        self.poll_validator_set(now, rng, &mut actions);
        if self.config.follow {
            self.poll_values(now, rng, &mut actions);
        }
        self.poll_data(now, rng, &mut actions);
        actions
    }

    /// How often the driver polls without an input: pauses and exclusions end by time.
    pub const TICK: Duration = Duration::from_millis(50);

    fn paced(&self, now: Instant) -> bool {
        match self.config.pacing {
            Pacing::Adaptive => true,
            Pacing::Fixed(gap) => {
                self.flights.is_empty() && self.last_start.is_none_or(|last| now.saturating_duration_since(last) >= gap)
            }
        }
    }

    /// Whether fixed pacing forbids another request in this poll.
    fn is_full(&self, actions: &[Action]) -> bool {
        matches!(self.config.pacing, Pacing::Fixed(_)) && !actions.is_empty()
    }

    fn poll_validator_set(&mut self, now: Instant, rng: &mut impl Rng, actions: &mut Vec<Action>) {
        let Some(root) = self.wanted_set.filter(|_| !self.set_in_flight) else { return };
        let height = self.values.decided().saturating_add(1);
        let method = Method::ValidatorSetByRoot;
        if let Some(peer) = self.book.choose(Kind::Values, height, method, 0, now, rng) {
            self.set_in_flight = true;
            actions.push(self.start(peer, Fetch::ValidatorSet(root), Vec::new(), 0, now));
        }
    }

    fn poll_values(&mut self, now: Instant, rng: &mut impl Rng, actions: &mut Vec<Action>) {
        while !self.is_full(actions) {
            let Some((peer, heights)) = self.values.next(&self.book, now, rng) else { return };
            let bytes = self.values.expected_bytes(heights.end - heights.start);
            let action = self.start(peer, Fetch::Values(heights.clone()), Vec::new(), bytes, now);
            self.values.started(action.id, peer, heights);
            actions.push(action);
        }
    }

    fn poll_data(&mut self, now: Instant, rng: &mut impl Rng, actions: &mut Vec<Action>) {
        let mut unserved: Option<Range<Height>> = None;
        for height in self.data.heights() {
            for kind in [Kind::Payloads, Kind::Blobs] {
                match self.poll_height(kind, height, now, rng, actions) {
                    Asked::All => {}
                    Asked::NoPeer => {
                        let range = unserved.get_or_insert(height..height);
                        range.end = height.saturating_add(1);
                    }
                    Asked::NoRoom => {
                        self.blocked = Some(Blocked::BufferFull);
                        return;
                    }
                    Asked::Paced => return,
                }
            }
        }
        self.blocked = unserved.map(|range| self.why_unserved(range)).or_else(|| self.waits_for_import());
    }

    fn why_unserved(&self, range: Range<Height>) -> Blocked {
        if self.book.len() == 0 {
            Blocked::NoPeers
        } else if self.book.anyone_claims(Kind::Blobs, range.start) {
            Blocked::PeersBusy(range)
        } else {
            Blocked::NoPeerHas(range)
        }
    }

    fn waits_for_import(&self) -> Option<Blocked> {
        let ahead = self.imported.saturating_add(self.config.max_heights_ahead);
        (self.data.loaded_to() >= ahead && self.values.decided() > ahead).then_some(Blocked::ImporterBehind)
    }

    /// Asks for all that is missing of `kind` at `height`, of as many peers as that takes.
    fn poll_height(
        &mut self,
        kind: Kind,
        height: Height,
        now: Instant,
        rng: &mut impl Rng,
        actions: &mut Vec<Action>,
    ) -> Asked {
        loop {
            let room = self.config.max_buffered_bytes.saturating_sub(self.data.reserved());
            let Some(proposal) = self.propose(kind, height, room.min(self.config.max_request_bytes)) else {
                return Asked::All;
            };
            // Waiting until a whole request fits keeps requests from crumbling into single items. An item larger than
            // the budget must still get through: alone.
            let least = proposal.bytes.max(self.config.max_request_bytes);
            if least > room && self.data.reserved() > 0 {
                return Asked::NoRoom;
            }
            if self.is_full(actions) {
                return Asked::Paced;
            }
            let Some((peer, proposal)) = self.place(kind, height, proposal, now, rng) else { return Asked::NoPeer };
            let action = self.start(peer, proposal.fetch, proposal.items, proposal.bytes, now);
            actions.push(action);
        }
    }

    fn propose(&self, kind: Kind, height: Height, max_bytes: u64) -> Option<Proposal> {
        match kind {
            Kind::Payloads => self.data.propose_payloads(height, max_bytes),
            Kind::Blobs => self.data.propose_blobs(height, max_bytes),
            Kind::Values => None,
        }
    }

    /// Finds a peer for `proposal`, and cuts the proposal down to what that peer claims and may have in flight.
    fn place(
        &self,
        kind: Kind,
        height: Height,
        proposal: Proposal,
        now: Instant,
        rng: &mut impl Rng,
    ) -> Option<(PeerId, Proposal)> {
        let method = proposal.fetch.method();
        let least = proposal.bytes.min(LEAST_REQUEST_BYTES);
        let id = self.book.choose(kind, height, method, least, now, rng)?;
        let peer = self.book.peer(&id)?;
        let servable = |height: Height| peer.may_serve(kind, height, now);
        let fits = proposal.bytes <= peer.room().max(least);
        if fits && proposal.items.iter().all(|item| servable(item.height())) {
            return Some((id, proposal));
        }
        let mut smaller = self.propose(kind, height, peer.room().max(least).min(proposal.bytes))?;
        smaller.keep_heights(servable);
        // Cutting may turn whole heights into single blobs, which is another method with permits of its own.
        (peer.is_free(smaller.fetch.method(), now) && !smaller.items.is_empty()).then_some((id, smaller))
    }

    fn start(&mut self, peer: PeerId, fetch: Fetch, items: Vec<Item>, bytes: u64, now: Instant) -> Action {
        let id = RequestId(self.next_id);
        self.next_id += 1;
        let method = fetch.method();
        self.data.start(id, &items);
        self.book.started(&peer, method, bytes);
        self.flights.insert(id, Flight { peer, method, items, bytes, started: now });
        self.last_start = Some(now);
        Action { id, peer, fetch }
    }
}

/// Result of asking for one kind of data of one height.
enum Asked {
    /// Nothing is missing that is not asked for.
    All,
    /// Nobody can be asked now.
    NoPeer,
    /// The byte budget is used up.
    NoRoom,
    /// Pacing allows no further request now.
    Paced,
}

impl Proposal {
    /// Drops everything from the first height on that `servable` refuses.
    fn keep_heights(&mut self, servable: impl Fn(Height) -> bool) {
        let Some(end) = self.items.iter().map(|item| item.height()).find(|height| !servable(*height)) else { return };
        match &mut self.fetch {
            Fetch::Payloads(values) | Fetch::WholeHeights(values) => {
                values.retain(|value| value.value().height < end);
            }
            Fetch::Blobs(wanted) => wanted.retain(|(value, _)| value.value().height < end),
            Fetch::Values(_) | Fetch::ValidatorSet(_) => {}
        }
        let before = self.items.len();
        self.items.retain(|item| item.height() < end);
        if self.items.len() < before {
            self.bytes = self.bytes * self.items.len() as u64 / before.max(1) as u64;
        }
    }
}

#[cfg(test)]
mod tests;
