//! Polling: from what is missing, who may have it and what is free to a list of requests.

use std::{ops::Range, time::Instant};

use lapis_protocol_spec::{Height, Method};
use rand::Rng;

use super::{
    Flight, Scheduler,
    action::{Action, Fetch, Item, RequestId, SourceId},
    claims::Kind,
    config::{Blocked, Pacing},
    data::{Proposal, SIDECAR_BYTES},
    mend::Mend,
    sets::WantedSet,
    sources::{Need, Wanted},
    values,
};

/// A busy source is given another request only if this much of its window is free (or the request is smaller).
pub(super) const LEAST_REQUEST_BYTES: u64 = 8 * SIDECAR_BYTES;

/// What data is asked for by.
const DATA_METHODS: [Method; 3] = [Method::PayloadsByRange, Method::BlobsByRange, Method::BlobsByRoot];

impl Scheduler {
    /// What to do now. Call again after every input, and at least every [`Scheduler::TICK`] while something is missing.
    pub fn poll(&mut self, now: Instant, rng: &mut impl Rng) -> Vec<Action> {
        let mut actions = Vec::new();
        if !self.paced(now) {
            return actions;
        }
        self.blocked = None;
        if self.held_until.is_some_and(|until| now < until) {
            self.blocked = Some(Blocked::OwnTrouble);
            return actions;
        }
        self.poll_mends(now, rng, &mut actions);
        self.poll_validator_set(now, rng, &mut actions);
        if self.config.follow {
            self.poll_values(now, rng, &mut actions);
        }
        self.poll_pool(now, &mut actions);
        self.poll_data(now, rng, &mut actions);
        self.poll_undecided(now, rng, &mut actions);
        self.poll_hedges(now, rng, &mut actions);
        if self.blocked.is_none() {
            let damaged = self.mends.first().map(Blocked::StoreDamaged);
            self.blocked = damaged.or_else(|| self.waits_for_set()).or_else(|| self.values_blocked());
        }
        actions
    }

    fn paced(&self, now: Instant) -> bool {
        match self.config.pacing {
            Pacing::Adaptive => true,
            Pacing::Fixed(gap) => {
                self.flights.is_empty() && self.last_start.is_none_or(|last| now.saturating_duration_since(last) >= gap)
            }
        }
    }

    /// Whether fixed pacing forbids another request in this poll.
    pub(super) fn is_full(&self, actions: &[Action]) -> bool {
        matches!(self.config.pacing, Pacing::Fixed(_)) && !actions.is_empty()
    }

    fn poll_mends(&mut self, now: Instant, rng: &mut impl Rng, actions: &mut Vec<Action>) {
        let decided = self.values.decided();
        for mend in self.mends.due(now) {
            if self.is_full(actions) {
                return;
            }
            let height = if let Mend::Value(height) = mend { height } else { decided };
            let fetch = mend.fetch(decided);
            let wanted = Wanted { method: fetch.method(), ..self.wanted_value(height) };
            let Some(source) = self.book.choose(&wanted, now, rng) else { continue };
            let action = self.start(source, fetch, Vec::new(), self.values.expected_bytes(1), now);
            self.mends.started(mend, action.id);
            if let Some(flight) = self.flights.get_mut(&action.id) {
                flight.mend = Some(mend);
            }
            actions.push(action);
        }
    }

    fn poll_values(&mut self, now: Instant, rng: &mut impl Rng, actions: &mut Vec<Action>) {
        while !self.is_full(actions) {
            let exploration_room = self.config.exploration_room();
            let next = self.values.next(&self.book, exploration_room, now, rng);
            let Some((source, heights)) = next else { return };
            let bytes = self.values.expected_bytes(heights.end - heights.start);
            let action = self.start(source, Fetch::Values(heights.clone()), Vec::new(), bytes, now);
            self.values.started(action.id, heights);
            actions.push(action);
        }
    }

    fn poll_data(&mut self, now: Instant, rng: &mut impl Rng, actions: &mut Vec<Action>) {
        let mut unserved: Option<(Kind, Range<Height>)> = None;
        if let Some((kind, first)) = self.data.first_wanting()
            && !self.book.anyone_is_free(&DATA_METHODS, first, now)
        {
            self.blocked = Some(self.why_unserved(kind, first..first.saturating_add(1)));
            return;
        }
        for height in self.data.wanting() {
            for kind in Kind::DATA {
                if self.is_left_to_pool(kind, height, now) {
                    continue;
                }
                match self.poll_height(kind, height, now, rng, actions) {
                    Asked::All => {}
                    Asked::Nobody => {
                        let (_, range) = unserved.get_or_insert((kind, height..height));
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
        self.blocked = unserved.map(|(kind, range)| self.why_unserved(kind, range)).or_else(|| self.waits_for_import());
    }

    fn why_unserved(&self, kind: Kind, range: Range<Height>) -> Blocked {
        if self.book.any_peer_promises(kind, range.start) {
            Blocked::PeersBusy(range)
        } else if self.book.any_archive_claims(kind, range.start) {
            Blocked::ArchivesBusy(range)
        } else if self.book.peer_count() == 0 {
            Blocked::NoPeers
        } else {
            Blocked::NobodyHas(range)
        }
    }

    /// Whether what was decided next cannot be verified yet.
    fn waits_for_set(&self) -> Option<Blocked> {
        let WantedSet { root, height } = self.sets.wanted()?;
        (self.config.follow && self.target() >= height).then_some(Blocked::NoValidatorSet { root, height })
    }

    /// Why no decided values are on their way although there should be more.
    fn values_blocked(&self) -> Option<Blocked> {
        if !self.config.follow || !self.values.is_idle() {
            return None;
        }
        let next = self.values.decided().saturating_add(1);
        let wanted = next..self.target().saturating_add(1);
        (!wanted.is_empty()).then(|| self.why_unserved(Kind::Values, wanted))
    }

    fn waits_for_import(&self) -> Option<Blocked> {
        let ahead = self.imported.saturating_add(self.config.max_heights_ahead);
        (self.data.loaded_to() >= ahead && self.values.decided() > ahead).then_some(Blocked::ImporterBehind)
    }

    /// Asks for all that is missing of `kind` at `height`, of as many sources as that takes.
    fn poll_height(
        &mut self,
        kind: Kind,
        height: Height,
        now: Instant,
        rng: &mut impl Rng,
        actions: &mut Vec<Action>,
    ) -> Asked {
        loop {
            let room = self.config.first_room().saturating_sub(self.data.reserved());
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
            let Some((source, proposal)) = self.place(kind, height, (proposal, room), now, rng) else {
                return Asked::Nobody;
            };
            let action = self.start(source, proposal.fetch, proposal.items, proposal.bytes, now);
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

    /// Finds a source for `proposal`, and cuts the proposal down to what that one claims and may have in flight, or lets it
    /// grow within `memory` to what is asked of who is far away.
    fn place(
        &self,
        kind: Kind,
        height: Height,
        (proposal, memory): (Proposal, u64),
        now: Instant,
        rng: &mut impl Rng,
    ) -> Option<(SourceId, Proposal)> {
        let method = proposal.fetch.method();
        let least = proposal.bytes.min(LEAST_REQUEST_BYTES);
        let exploration_room = self.config.exploration_room();
        let need = if self.data.is_at_front(height) {
            Need::Urgent
        } else if self.data.reserved() > self.config.first_room() / 2 {
            Need::MemoryScarce
        } else {
            Need::Usual
        };
        let wanted = Wanted { kind, height, method, bytes: least, except: None, exploration_room, need };
        let id = self.book.choose(&wanted, now, rng)?;
        let source = self.book.source(id)?;
        let servable =
            |height: Height| self.book.may_serve(id, kind, height, now) && !self.is_left_to_pool(kind, height, now);
        let room = source.trusted_with(kind, least);
        let usual = self.config.max_request_bytes;
        let most = source.request_bytes(usual, self.config.far_request_bytes()).min(room).min(memory);
        let larger = (most > usual).then(|| self.propose(kind, height, most)).flatten();
        let proposal = larger.filter(|larger| larger.fetch.method() == method).unwrap_or(proposal);
        let fits = proposal.bytes <= room;
        if fits && proposal.items.iter().all(|item| servable(item.height())) {
            return Some((id, proposal));
        }
        let mut smaller = self.propose(kind, height, room.min(proposal.bytes))?;
        smaller.keep_heights(servable);
        // Cutting may turn whole heights into single blobs, which is another method with permits of its own.
        (source.is_free(smaller.fetch.method(), now) && !smaller.items.is_empty()).then_some((id, smaller))
    }

    /// Opens an exchange for `items`, which are asked of nobody else.
    pub(super) fn start(
        &mut self,
        source: SourceId,
        fetch: Fetch,
        items: Vec<Item>,
        bytes: u64,
        now: Instant,
    ) -> Action {
        self.data.start(RequestId(self.next_id), &items);
        self.open(source, fetch, items, bytes, now)
    }

    /// Opens an exchange. What it is for is noted elsewhere.
    pub(super) fn open(
        &mut self,
        source: SourceId,
        fetch: Fetch,
        items: Vec<Item>,
        bytes: u64,
        now: Instant,
    ) -> Action {
        let id = RequestId(self.next_id);
        self.next_id += 1;
        let method = fetch.method();
        self.book.started(source, method, bytes, now);
        self.flights.insert(id, Flight::new(source, method, items, bytes, now));
        self.last_start = Some(now);
        Action { id, source, fetch }
    }

    fn wanted_value(&self, height: Height) -> Wanted {
        values::wanted(height, None, self.config.exploration_room())
    }
}

/// Result of asking for one kind of data of one height.
enum Asked {
    /// Nothing is missing that is not asked for.
    All,
    /// Nobody can be asked now.
    Nobody,
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
            Fetch::Values(_) | Fetch::ValidatorSet { .. } | Fetch::PayloadsByRoot(_) => {}
        }
        let before = self.items.len();
        self.items.retain(|item| item.height() < end);
        if self.items.len() < before {
            self.bytes = self.bytes * self.items.len() as u64 / before.max(1) as u64;
        }
    }
}
