//! The blob pool of the execution client: asked for the blobs of new heights before peers are.
//!
//! A client holds the blobs of transactions that it has heard of and not seen in a block, and it is on this machine. So a
//! call is worth trying for heights that are new, and for no others. Each blob is asked of the pool once, in batches, one
//! call at a time. Meanwhile peers are not asked for the same, for a head start and no longer; what the pool lacks, gives
//! wrong or is slow to give comes from them as if there were no pool. A pool that fails is left alone for a while.

use std::{
    collections::BTreeMap,
    ops::Range,
    time::{Duration, Instant},
};

use lapis_protocol_spec::Height;

use super::{
    Cancelled, Flight, Scheduler,
    action::{Action, Outcome, RequestId, SourceId},
    claims::Kind,
    config::{Pacing, Report},
    data::{Proposal, SIDECAR_BYTES},
};
use crate::back_off::doubled;

/// How far below the head a height is new. Its blobs were in the pools of the network until it was decided, and a client
/// that lags no more than this may still have them; further below, calls would only find that they are gone.
const REACH: u64 = 32;
/// Blobs in one call: 4 MiB of JSON, which a client writes in a fraction of the head start.
const MAX_BATCH: u64 = 16;
/// First pause after a call that failed; doubles while they keep failing.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// What was asked of the pool for one height.
#[derive(Clone, Copy, Debug)]
struct Offer {
    /// Since when the height waits for the pool.
    since: Instant,
    /// Blobs from this index on were not asked for; `None` once all were that are missing.
    next: Option<u64>,
}

/// State of the pool.
#[derive(Debug, Default)]
pub(super) struct PoolLane {
    /// The client says that it has the method.
    is_open: bool,
    paused_until: Option<Instant>,
    failures: u32,
    in_flight: Option<RequestId>,
    /// Heights within [`REACH`].
    offers: BTreeMap<Height, Offer>,
}

impl PoolLane {
    fn is_usable(&self, now: Instant) -> bool {
        self.is_open && !self.is_paused(now)
    }

    fn is_paused(&self, now: Instant) -> bool {
        self.paused_until.is_some_and(|until| now < until)
    }

    /// Calls and faults that come while it is paused belong to what it is paused for.
    fn failed(&mut self, now: Instant) {
        if self.is_paused(now) {
            return;
        }
        let pause = doubled(FIRST_PAUSE, self.failures, LONGEST_PAUSE);
        self.paused_until = Some(now + pause);
        self.failures = self.failures.saturating_add(1);
    }

    /// Whether blobs of `height` wait for a call, and have not for longer than `head_start`.
    fn is_waited_for(&self, height: Height, head_start: Duration, now: Instant) -> bool {
        let waits = |offer: &Offer| offer.next.is_some() && now.saturating_duration_since(offer.since) < head_start;
        self.is_usable(now) && self.offers.get(&height).is_some_and(waits)
    }

    /// Takes note of the heights within `reach` of which something is `wanting`, and forgets all others.
    fn offer(&mut self, reach: &Range<Height>, wanting: impl Iterator<Item = Height>, now: Instant) {
        self.offers.retain(|height, _| reach.contains(height));
        for height in wanting {
            self.offers.entry(height).or_insert(Offer { since: now, next: Some(0) });
        }
    }

    /// The lowest height with blobs that were not asked for, and the first index of them.
    fn next(&self) -> Option<(Height, u64)> {
        self.offers.iter().find_map(|(height, offer)| Some((*height, offer.next?)))
    }

    fn set_next(&mut self, height: Height, next: Option<u64>) {
        if let Some(offer) = self.offers.get_mut(&height) {
            offer.next = next;
        }
    }
}

impl Scheduler {
    /// The execution client says whether it can be asked for blobs. Said again it is believed again.
    pub fn pool_announced(&mut self, is_open: bool) {
        self.pool.is_open = is_open;
        self.pool.paused_until = None;
        self.pool.failures = 0;
    }

    /// Whether the pool is asked for the blobs of new heights, its pauses apart.
    pub fn is_pool_open(&self) -> bool {
        self.pool.is_open && self.may_ask_pool()
    }

    /// One request at a time is what fixed pacing is about.
    fn may_ask_pool(&self) -> bool {
        matches!(self.config.pacing, Pacing::Adaptive)
    }

    /// Asks the pool for blobs of new heights.
    pub(super) fn poll_pool(&mut self, now: Instant, actions: &mut Vec<Action>) {
        if !self.pool.is_usable(now) || !self.may_ask_pool() {
            return;
        }
        let reach = self.new_heights();
        self.pool.offer(&reach, self.data.wanting_within(reach.clone()), now);
        if self.pool.in_flight.is_some() {
            return;
        }
        while let Some((height, from)) = self.pool.next() {
            let room = self.config.first_room().saturating_sub(self.data.reserved());
            if room < SIDECAR_BYTES {
                return;
            }
            let most = room.min(self.config.max_request_bytes).min(MAX_BATCH * SIDECAR_BYTES);
            match self.data.propose_blobs_from(height, from, most) {
                Some(proposal) => return actions.push(self.ask_pool(height, proposal, now)),
                None => self.pool.set_next(height, None),
            }
        }
    }

    /// Heights near the head that are not imported.
    fn new_heights(&self) -> Range<Height> {
        let first = self.target().saturating_sub(REACH).max(self.imported);
        first.saturating_add(1)..self.values.decided().saturating_add(1)
    }

    fn ask_pool(&mut self, height: Height, proposal: Proposal, now: Instant) -> Action {
        let Proposal { fetch, items, bytes } = proposal;
        let last = items.iter().map(|item| item.index()).max().flatten();
        let action = self.start(SourceId::Pool, fetch, items, bytes, now);
        let rest = last.map(|last| last.saturating_add(1));
        let rest = rest.filter(|from| self.data.propose_blobs_from(height, *from, SIDECAR_BYTES).is_some());
        self.pool.set_next(height, rest);
        self.pool.in_flight = Some(action.id);
        self.stats.pool_calls += 1;
        action
    }

    /// Whether peers are not to be asked for `kind` at `height`, since the pool is about to be.
    pub(super) fn is_left_to_pool(&self, kind: Kind, height: Height, now: Instant) -> bool {
        kind == Kind::Blobs && self.pool.is_waited_for(height, self.config.pool_head_start, now)
    }

    /// Gives up a call that takes longer than the head start.
    pub(super) fn cancel_slow_pool(&mut self, now: Instant) {
        let Some(id) = self.pool.in_flight else { return };
        let head_start = self.config.pool_head_start;
        // Once it has answered, what takes time is our own verification.
        let is_slow =
            |flight: &Flight| flight.arrived == 0 && now.saturating_duration_since(flight.started) >= head_start;
        if self.flights.get(&id).is_some_and(is_slow) {
            self.cancel(id, Cancelled::Overdue);
        }
    }

    /// A call ended.
    pub(super) fn pool_finished(&mut self, flight: &Flight, report: &Report, now: Instant) {
        if flight.source != SourceId::Pool {
            return;
        }
        self.pool.in_flight = None;
        self.stats.pool_blobs += report.received.len() as u64;
        match report.outcome {
            Outcome::Answered | Outcome::Unavailable => {
                self.pool.failures = 0;
                let misses = flight.items.len().saturating_sub(report.received.len());
                self.stats.pool_misses += misses as u64;
            }
            Outcome::Unsupported => {
                self.stats.pool_failures += 1;
                self.pool.is_open = false;
            }
            Outcome::RateLimited | Outcome::Broken | Outcome::Faulty | Outcome::Outrun => {
                self.stats.pool_failures += 1;
                self.pool.failed(now);
            }
            Outcome::Local => {}
        }
    }

    /// If `source` is the pool, a blob of it failed verification.
    pub(super) fn pool_was_wrong(&mut self, source: SourceId, now: Instant) {
        if source == SourceId::Pool {
            self.stats.pool_faults += 1;
            self.pool.failed(now);
        }
    }
}
