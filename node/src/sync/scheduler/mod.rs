//! The sync scheduler: decides what to ask whom. Pure: no IO, no clock, no random source of its own.
//!
//! It is told what happened (a peer came, an exchange ended, an item was stored) and asked what to do
//! ([`Scheduler::poll`]). All state of the sync is here; the driver holds only sockets and buffers.
//!
//! Heights are worked on in ascending order, each item on its own: the blobs of one height may come from several peers
//! and archives,
//! and a retry asks only for what is still missing, from somebody who has not just failed to deliver it.

mod action;
mod claims;
mod config;
mod data;
mod flight;
mod hedge;
mod input;
mod mend;
mod plan;
mod pool;
mod recall;
mod sets;
mod source;
mod sources;
mod undecided;
mod values;

use std::{
    borrow::Cow,
    collections::BTreeMap,
    ops::Range,
    time::{Duration, Instant},
};

use lapis_protocol_spec::{Height, HeightRanges, Method, Status};
use libp2p::PeerId;

pub use self::{
    action::{Action, Fetch, Item, Outcome, RequestId, SourceId},
    config::{Blocked, Pacing, Report, SchedulerConfig, Stats},
    data::{Missing, SIDECAR_BYTES},
    input::Input,
    mend::Mend,
    source::PeerCapacity,
};
use self::{
    data::{DataLane, Received},
    flight::{Cancelled, Flight},
    hedge::{Credit, Standstill},
    mend::MendLane,
    pool::PoolLane,
    sets::SetLane,
    sources::SourceBook,
    undecided::UndecidedLane,
    values::ValuesLane,
};
use super::archive::ArchiveId;

/// How long nothing is asked for after something could not be checked or stored.
const HOLD: Duration = Duration::from_secs(1);

/// What an exchange that ended was for, as far as its driver has something in hand for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Decided values of this range, some of which may have come.
    Values(Range<Height>),
    /// A row to be mended, and what should mend it has come.
    Mend(Mend),
    /// Something else, or nothing has come.
    Other,
}

/// The scheduler's state.
#[derive(Debug)]
pub struct Scheduler {
    config: SchedulerConfig,
    book: SourceBook,
    values: ValuesLane,
    data: DataLane,
    mends: MendLane,
    pool: PoolLane,
    undecided: UndecidedLane,
    imported: Height,
    /// Highest height of which a certificate was seen.
    certified: Height,
    /// Nothing is asked for before this: our own disk or memory needs a pause.
    held_until: Option<Instant>,
    sets: SetLane,
    flights: BTreeMap<RequestId, Flight>,
    next_id: u64,
    last_start: Option<Instant>,
    /// Exchanges that are to end and were not named yet. As many as there are flights.
    to_cancel: Vec<RequestId>,
    credit: Credit,
    standstill: Standstill,
    /// When that exchange started which was asked for last of all that have brought something.
    newest_answered: Option<Instant>,
    stats: Stats,
    blocked: Option<Blocked>,
}

impl Scheduler {
    /// A node whose store has decided up to `decided`, lacks nothing up to `available` and imported up to `imported`.
    pub fn new(config: SchedulerConfig, decided: Height, available: Height, imported: Height) -> Self {
        let credit = Credit::new(config.hedge_room());
        Self {
            config,
            book: SourceBook::default(),
            values: ValuesLane::new(decided),
            data: DataLane::new(available),
            mends: MendLane::default(),
            pool: PoolLane::default(),
            undecided: UndecidedLane::default(),
            imported,
            certified: decided,
            held_until: None,
            sets: SetLane::default(),
            flights: BTreeMap::new(),
            next_id: 0,
            last_start: None,
            to_cancel: Vec::new(),
            credit,
            standstill: Standstill::default(),
            newest_answered: None,
            stats: Stats::default(),
            blocked: None,
        }
    }

    /// A peer finished the handshake, or sent a newer status.
    pub fn peer_status(&mut self, peer: PeerId, status: Status) {
        self.book.update_peer(peer, status);
    }

    /// A peer announced a decided height whose certificate holds.
    pub fn peer_announced(&mut self, peer: PeerId, height: Height) {
        self.certified = self.certified.max(height);
        self.peer_hinted(peer, height);
    }

    /// A peer announced a height of which it cannot be told yet whether its certificate holds: a claim like any other.
    pub fn peer_hinted(&mut self, peer: PeerId, height: Height) {
        self.book.announced(peer, height);
    }

    /// A peer is gone. Its exchanges still have to be reported as finished.
    pub fn peer_gone(&mut self, peer: PeerId) {
        self.book.remove(peer.into());
    }

    /// An archive is there, or covers other heights than before.
    pub fn archive_covers(&mut self, archive: ArchiveId, held: HeightRanges) {
        self.book.update_archive(archive, held);
    }

    /// An archive is gone. Its exchanges still have to be reported as finished.
    pub fn archive_gone(&mut self, archive: ArchiveId) {
        self.book.remove(SourceId::Archive(archive));
    }

    /// Number of usable peers.
    pub fn peers(&self) -> usize {
        self.book.peer_count()
    }

    /// What each of them was measured to deliver.
    pub fn capacities(&self) -> Vec<PeerCapacity> {
        self.book.capacities()
    }

    /// The height that the network seems to have reached; never below our own.
    pub fn target(&self) -> Height {
        let decided = self.values.decided();
        self.book.corroborated_head(decided).max(decided).max(self.certified)
    }

    /// Bytes asked for or received and not yet stored.
    pub fn buffered_bytes(&self) -> u64 {
        self.data.reserved().saturating_add(self.data.hedged())
    }

    /// What was counted so far.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// Exchanges in flight.
    pub fn in_flight(&self) -> usize {
        self.flights.len()
    }

    /// Why the last poll could not ask for all that is missing.
    pub fn blocked(&self) -> Option<&Blocked> {
        self.blocked.as_ref()
    }

    /// Whether a value announced for `height` is the next one and not here already.
    pub fn wants_value(&self, height: Height) -> bool {
        self.values.wants(height)
    }

    /// Ranges of values that were fetched and are not committed yet.
    pub fn set_held_values(&mut self, held: Vec<Range<Height>>) {
        self.values.set_held(held);
    }

    /// A value from `source` is not certified: ask somebody else.
    pub fn faulty_value(&mut self, source: SourceId, height: Height, now: Instant) {
        self.book.lacks(source, height, Outcome::Faulty, now);
    }

    /// The decided watermark moved.
    pub fn set_decided(&mut self, decided: Height) {
        self.values.set_decided(decided);
        self.sets.set_decided(decided);
    }

    /// The imported watermark moved.
    pub fn set_imported(&mut self, imported: Height) {
        self.imported = self.imported.max(imported);
    }

    /// Heights whose lowest gaps, as many as there is [room](Self::load_room) for, should be loaded from the store now.
    pub fn wants_load(&self) -> Option<Range<Height>> {
        let room = self.load_room();
        let start = self.data.loaded_to().saturating_add(1);
        let ahead = self.imported.saturating_add(self.config.max_heights_ahead);
        let end = self.values.decided().min(ahead).saturating_add(1);
        (room > 0 && start < end).then_some(start..end)
    }

    /// How many more incomplete heights the window takes.
    pub fn load_room(&self) -> usize {
        self.config.max_loaded_heights.saturating_sub(self.data.len())
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
        self.credit.earn(self.data.bytes_of(item));
        if self.data.stored(item) {
            self.book.forget_height(item.height());
        }
    }

    /// An item from `source` failed verification: ask somebody else.
    pub fn faulty(&mut self, source: SourceId, item: Item, now: Instant) {
        self.stats.wasted_bytes += self.data.bytes_of(item);
        self.data.lost(item);
        self.book.sent_garbage(source, now);
        self.pool_was_wrong(source, now);
        self.book.lacks(source, item.height(), Outcome::Faulty, now);
    }

    /// An item arrived and could not be checked or stored: it is missing again, and nothing is asked for until our own
    /// trouble had time to pass.
    pub fn not_stored(&mut self, item: Item, now: Instant) {
        self.data.lost(item);
        self.hold(now);
    }

    /// Asks for nothing for a moment.
    pub fn hold(&mut self, now: Instant) {
        self.held_until = Some(now + HOLD);
    }

    /// A row of the store is damaged and can only come back from others.
    pub fn want_mend(&mut self, mend: Mend) {
        self.mends.want(mend);
    }

    /// What came did not mend the row: try again after a while.
    pub fn not_mended(&mut self, mend: Mend, now: Instant) {
        self.mends.failed(mend, now);
    }

    /// The row can be read again; what depends on it is to be looked at.
    pub fn mended(&mut self, mend: Mend) {
        self.mends.done(mend);
        if let Mend::Value(height) = mend {
            self.book.forget_height(height);
            self.data.reload_from(height);
        }
    }

    /// Something of an answer arrived, `item` if it is a payload or a blob, `bytes` in all. Not to be told of everything
    /// costs nothing but knowledge: [`Self::finished`] says what came in the end.
    pub fn received(&mut self, id: RequestId, item: Option<Item>, bytes: u64, now: Instant) {
        let Some(flight) = self.flights.get_mut(&id) else { return };
        let (source, arrival) = (flight.source, flight.arrives(bytes, now));
        self.newest_answered = self.newest_answered.max(Some(flight.started));
        self.book.received(source, arrival, now);
        if let Some(item) = item
            && let Received::Wanted { rival: Some(rival) } = self.data.received(id, item)
        {
            self.outran(id, rival);
        }
    }

    /// An exchange ended.
    pub fn finished(&mut self, id: RequestId, report: &Report, now: Instant) -> Ended {
        let Some(mut flight) = self.flights.remove(&id) else { return Ended::Other };
        self.to_cancel.retain(|cancelled| *cancelled != id);
        let outcome = flight.outcome(report.outcome);
        let untold = report.bytes.saturating_sub(flight.arrived);
        if untold > 0 {
            let arrival = flight.arrives(untold, now);
            self.book.received(flight.source, arrival, now);
        }
        let worth = match flight.method {
            Method::ValidatorSetByRoot if flight.mend.is_none() => self.worth_of_set(id, outcome),
            _ => outcome,
        };
        let brought = report.received.len().saturating_add(report.duplicates.len());
        self.book.ended(flight.source, flight.method, flight.delivery(worth, brought, now), now);
        let report = match outcome {
            reported if reported == report.outcome => Cow::Borrowed(report),
            outcome => Cow::Owned(Report { outcome, ..report.clone() }),
        };
        let report = report.as_ref();
        self.settle(&flight, report);
        if let Some(mend) = flight.mend {
            return self.mend_finished(id, mend, &flight, report, now);
        }
        match flight.method {
            Method::DecidedValuesByRange => {
                self.values_finished(id, &flight, report, now).map_or(Ended::Other, Ended::Values)
            }
            Method::ValidatorSetByRoot => {
                self.set_finished(id, report.bytes > 0, now);
                Ended::Other
            }
            _ => {
                self.data_finished(id, &flight, report, now);
                Ended::Other
            }
        }
    }

    fn data_finished(&mut self, id: RequestId, flight: &Flight, report: &Report, now: Instant) {
        let lost = self.data.finish(id, &flight.items, report);
        self.pool_finished(flight, report, now);
        if flight.is_unclaimed {
            return self.undecided_finished(flight, report, now);
        }
        let unread = |height: Height| report.broke_at.is_some_and(|at| height > at);
        for height in lost.iter().filter(|height| !unread(**height)) {
            self.book.lacks(flight.source, *height, report.outcome, now);
        }
        let not_held = matches!(report.outcome, Outcome::Answered | Outcome::Unavailable);
        // Peers serve parts of a height by hash only; an archive gives what is asked for either way.
        if flight.method == Method::BlobsByRange && not_held && flight.source.is_peer() {
            self.data.split(&lost);
        }
    }

    fn values_finished(
        &mut self,
        id: RequestId,
        flight: &Flight,
        report: &Report,
        now: Instant,
    ) -> Option<Range<Height>> {
        let (heights, needless) = self.values.finished(id, report.values, report.bytes)?;
        if let Some(needless) = needless {
            self.stats.hedges_won += u64::from(flight.hedge.is_some());
            self.cancel(needless, Cancelled::Outrun);
        }
        let served_to = heights.start.saturating_add(report.values);
        if served_to < heights.end {
            self.book.lacks(flight.source, served_to, report.outcome, now);
            if matches!(report.outcome, Outcome::Answered | Outcome::Unavailable) {
                self.book.shrink_values(flight.source, served_to.saturating_sub(1));
            }
        }
        Some(heights)
    }

    /// How often the driver polls without an input: pauses and exclusions end by time.
    pub const TICK: Duration = Duration::from_millis(50);
}

#[cfg(test)]
mod tests;
