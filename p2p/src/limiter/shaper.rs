//! Who may move how many cells when. Pure: `now` is an argument, nothing here waits.
//!
//! Costs are charged to a bucket of the peer and to one that all peers share, in slices, so that no bucket is ever asked
//! for more than it holds. Which slice has the common bucket next is decided by start-time fair queueing, twice: between
//! the two classes by their weights, and within a class between peers, all alike. So of n peers that ask for all they
//! can get each gets its n-th part, whatever the size of its items and however many of its streams wait, and neither
//! class can take from the other what that has a use for. Costs of one peer and class are served in the order in which
//! they came.
//!
//! Source of the queueing: Goyal, Vin, Cheng, "Start-time Fair Queuing" (SIGCOMM 1996).

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use governor::{
    RateLimiter,
    clock::Clock,
    middleware::NoOpMiddleware,
    state::{InMemoryState, NotKeyed, keyed::HashMapStateStore},
};
use libp2p::PeerId;

use crate::limits::{LARGEST_FIXED_ITEM_KIB, Quota};

/// What a cost is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// Following the chain: heights near the head.
    NearHead,
    /// Everything older.
    CatchUp,
}

/// The clock of the buckets: shows the `now` that the shaper was last given, since its beginning.
#[derive(Clone, Debug, Default)]
struct Hand(Arc<AtomicU64>);

/// The clock stops there, after 146 years: sums of it and of what the largest bucket takes to fill do not overflow.
const LAST: u64 = u64::MAX / 4;

impl Hand {
    fn set(&self, now: Duration) {
        let nanoseconds = u64::try_from(now.as_nanos()).unwrap_or(LAST);
        self.0.store(nanoseconds.min(LAST), Ordering::Relaxed);
    }
}

impl Clock for Hand {
    type Instant = Duration;

    fn now(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }
}

type Middleware = NoOpMiddleware<Duration>;
type PeerBuckets = RateLimiter<PeerId, HashMapStateStore<PeerId>, Hand, Middleware>;
type Bucket = RateLimiter<NotKeyed, InMemoryState, Hand, Middleware>;

/// Names one cost that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    peer: PeerId,
    class: Class,
    number: u64,
}

/// A cost that waits, or the rest of it.
#[derive(Debug)]
struct Cost<T> {
    number: u64,
    left: u32,
    waiter: T,
}

/// Where the next slice of a peer stands.
#[derive(Clone, Copy, Debug)]
enum Stage {
    /// Its own bucket has it then.
    Throttled(Duration),
    /// Its own bucket is charged; the common one is next, in the order of tags.
    Ready { tag: u64, number: u64, cells: NonZeroU32 },
}

/// What one peer waits for in one class.
#[derive(Debug)]
struct Flow<T> {
    costs: VecDeque<Cost<T>>,
    stage: Stage,
}

/// One class.
#[derive(Debug)]
struct Lane<T> {
    /// Its share of the common bucket in percent, while the other class wants the rest.
    weight: u64,
    /// The virtual time at which its last slice is done, as the classes see it.
    finish: u64,
    /// The start tag of its last slice.
    virtual_time: u64,
    flows: HashMap<PeerId, Flow<T>>,
    ready: BTreeSet<(u64, u64, PeerId)>,
    throttled: BTreeSet<(Duration, PeerId)>,
    /// The virtual time at which the last slice of a peer is done, where that is still to come.
    finishes: HashMap<PeerId, u64>,
}

/// Virtual time of a class per cell at a weight of 1 percent.
const TIME_PER_CELL: u64 = 10_000;

impl<T> Lane<T> {
    fn new(weight: u64) -> Self {
        Self {
            weight,
            finish: 0,
            virtual_time: 0,
            flows: HashMap::new(),
            ready: BTreeSet::new(),
            throttled: BTreeSet::new(),
            finishes: HashMap::new(),
        }
    }

    /// Charges the peer's own bucket for its next slice, or notes when that will do.
    fn stage(&mut self, peer: PeerId, buckets: &PeerBuckets, slice: NonZeroU32, now: Duration) {
        let Some(flow) = self.flows.get_mut(&peer) else { return };
        let Some(next) = flow.costs.front() else { return };
        let cells = NonZeroU32::new(next.left).unwrap_or(NonZeroU32::MIN).min(slice);
        flow.stage = match buckets.check_key_n(&peer, cells) {
            Ok(Err(not_until)) => Stage::Throttled(not_until.earliest_possible().max(now)),
            // More than a bucket holds is never asked for.
            Ok(Ok(())) | Err(_) => {
                let finish = self.finishes.get(&peer).copied().unwrap_or(0);
                Stage::Ready { tag: finish.max(self.virtual_time), number: next.number, cells }
            }
        };
        match flow.stage {
            Stage::Throttled(until) => drop(self.throttled.insert((until, peer))),
            Stage::Ready { tag, number, .. } => drop(self.ready.insert((tag, number, peer))),
        }
    }

    fn unstage(&mut self, peer: PeerId, stage: Stage) {
        match stage {
            Stage::Throttled(until) => drop(self.throttled.remove(&(until, peer))),
            Stage::Ready { tag, number, .. } => drop(self.ready.remove(&(tag, number, peer))),
        }
    }

    /// The peer whose turn it is, and how much for.
    fn first(&self) -> Option<(PeerId, NonZeroU32)> {
        let (_, _, peer) = self.ready.first()?;
        match self.flows.get(peer)?.stage {
            Stage::Ready { cells, .. } => Some((*peer, cells)),
            Stage::Throttled(_) => None,
        }
    }

    /// Takes the slice of the peer whose turn it is. Returns the waiter whose cost is paid by it.
    fn serve(&mut self, peer: PeerId, cells: NonZeroU32) -> Option<T> {
        let (tag, _, _) = self.ready.pop_first()?;
        self.virtual_time = tag;
        self.finishes.insert(peer, tag.saturating_add(u64::from(cells.get())));
        let flow = self.flows.get_mut(&peer)?;
        let cost = flow.costs.front_mut()?;
        cost.left = cost.left.saturating_sub(cells.get());
        let paid = if cost.left == 0 { flow.costs.pop_front() } else { None };
        if flow.costs.is_empty() {
            self.flows.remove(&peer);
        }
        self.forget_if_idle();
        paid.map(|cost| cost.waiter)
    }

    fn cancel(&mut self, place: Place, buckets: &PeerBuckets, slice: NonZeroU32, now: Duration) {
        let Some(flow) = self.flows.get_mut(&place.peer) else { return };
        let Some(position) = flow.costs.iter().position(|cost| cost.number == place.number) else { return };
        flow.costs.remove(position);
        if position > 0 {
            return;
        }
        // What the peer's own bucket was charged for the first in line is lost to it.
        let stage = flow.stage;
        let empty = flow.costs.is_empty();
        self.unstage(place.peer, stage);
        if empty {
            self.flows.remove(&place.peer);
            self.forget_if_idle();
        } else {
            self.stage(place.peer, buckets, slice, now);
        }
    }

    /// Nobody waits: who comes next comes first.
    fn forget_if_idle(&mut self) {
        if self.flows.is_empty() {
            self.virtual_time = 0;
            self.finishes.clear();
        }
    }

    fn forget_past(&mut self) {
        let now = self.virtual_time;
        self.finishes.retain(|_, finish| *finish > now);
        self.finishes.shrink_to_fit();
        self.flows.shrink_to_fit();
    }
}

/// Buckets of one kind, and the order in which those who wait are served. `T` is how a waiter is told.
#[derive(Debug)]
pub(super) struct Shaper<T> {
    hand: Hand,
    per_peer: PeerBuckets,
    common: Bucket,
    slice: NonZeroU32,
    near_head: Lane<T>,
    catch_up: Lane<T>,
    /// The start tag of the last slice, as the classes see it.
    virtual_time: u64,
    /// When the common bucket will do for the slice whose turn it is.
    common_at: Option<Duration>,
    next_number: u64,
}

impl<T> Shaper<T> {
    /// `near_head_percent` of the common bucket are kept for that class, at most 99.
    pub(super) fn new(per_peer: Quota, common: Quota, near_head_percent: u8) -> Self {
        let hand = Hand::default();
        let share = u64::from(near_head_percent.clamp(1, 99));
        let largest = NonZeroU32::new(LARGEST_FIXED_ITEM_KIB).unwrap_or(NonZeroU32::MIN);
        Self {
            per_peer: RateLimiter::hashmap_with_clock(per_peer.to_governor(), hand.clone()),
            common: RateLimiter::direct_with_clock(common.to_governor(), hand.clone()),
            slice: per_peer.burst.min(common.burst).min(largest),
            near_head: Lane::new(share),
            catch_up: Lane::new(100 - share),
            virtual_time: 0,
            common_at: None,
            next_number: 0,
            hand,
        }
    }

    /// Lets `cells`, at least 1, wait for their turn. To be followed by [`Shaper::advance`].
    pub(super) fn enqueue(&mut self, peer: PeerId, class: Class, cells: u32, waiter: T, now: Duration) -> Place {
        self.hand.set(now);
        let number = self.next_number;
        self.next_number = number.wrapping_add(1);
        let lane = lane(&mut self.near_head, &mut self.catch_up, class);
        let flow = lane.flows.entry(peer);
        let flow = flow.or_insert_with(|| Flow { costs: VecDeque::new(), stage: Stage::Throttled(now) });
        flow.costs.push_back(Cost { number, left: cells.max(1), waiter });
        if flow.costs.len() == 1 {
            lane.stage(peer, &self.per_peer, self.slice, now);
        }
        Place { peer, class, number }
    }

    /// Whoever waits at `place`, if anyone still does, has given up. To be followed by [`Shaper::advance`].
    pub(super) fn cancel(&mut self, place: Place, now: Duration) {
        self.hand.set(now);
        let lane = lane(&mut self.near_head, &mut self.catch_up, place.class);
        lane.cancel(place, &self.per_peer, self.slice, now);
    }

    /// Those whose costs are paid by `now`, in order.
    pub(super) fn advance(&mut self, now: Duration) -> Vec<T> {
        self.hand.set(now);
        self.common_at = None;
        let mut paid = Vec::new();
        for lane in [&mut self.near_head, &mut self.catch_up] {
            while let Some((until, peer)) = lane.throttled.first().copied()
                && until <= now
            {
                lane.throttled.pop_first();
                lane.stage(peer, &self.per_peer, self.slice, now);
            }
        }
        while let Some((class, start)) = self.next_class() {
            let lane = lane(&mut self.near_head, &mut self.catch_up, class);
            let Some((peer, cells)) = lane.first() else { break };
            if let Ok(Err(not_until)) = self.common.check_n(cells) {
                self.common_at = Some(not_until.earliest_possible().max(now));
                break;
            }
            let cost = u64::from(cells.get()).saturating_mul(TIME_PER_CELL) / lane.weight;
            lane.finish = start.saturating_add(cost);
            paid.extend(lane.serve(peer, cells));
            lane.stage(peer, &self.per_peer, self.slice, now);
            self.virtual_time = start;
        }
        if self.near_head.flows.is_empty() && self.catch_up.flows.is_empty() {
            (self.virtual_time, self.near_head.finish, self.catch_up.finish) = (0, 0, 0);
        }
        paid
    }

    /// The class whose turn it is, with its start tag. Of two equal ones the one near the head.
    fn next_class(&self) -> Option<(Class, u64)> {
        let start = |lane: &Lane<T>| (!lane.ready.is_empty()).then(|| lane.finish.max(self.virtual_time));
        match (start(&self.near_head), start(&self.catch_up)) {
            (Some(near), Some(far)) if far < near => Some((Class::CatchUp, far)),
            (Some(near), _) => Some((Class::NearHead, near)),
            (None, Some(far)) => Some((Class::CatchUp, far)),
            (None, None) => None,
        }
    }

    /// When [`Shaper::advance`] has something to do next, if nothing comes before.
    pub(super) fn next(&self) -> Option<Duration> {
        let throttled = |lane: &Lane<T>| lane.throttled.first().map(|(until, _)| *until);
        [self.common_at, throttled(&self.near_head), throttled(&self.catch_up)].into_iter().flatten().min()
    }

    /// Costs that wait.
    pub(super) fn waiting(&self) -> usize {
        let costs = |lane: &Lane<T>| lane.flows.values().map(|flow| flow.costs.len()).sum::<usize>();
        costs(&self.near_head) + costs(&self.catch_up)
    }

    /// Forgets peers whose buckets are full again.
    pub(super) fn forget_idle(&mut self, now: Duration) {
        self.hand.set(now);
        self.per_peer.retain_recent();
        self.per_peer.shrink_to_fit();
        self.near_head.forget_past();
        self.catch_up.forget_past();
    }

    /// Peers of whom anything is known.
    #[cfg(test)]
    pub(super) fn remembered(&self) -> usize {
        let lane = |lane: &Lane<T>| lane.finishes.len() + lane.flows.len() + lane.ready.len() + lane.throttled.len();
        self.per_peer.len() + lane(&self.near_head) + lane(&self.catch_up)
    }
}

const fn lane<'a, T>(near_head: &'a mut Lane<T>, catch_up: &'a mut Lane<T>, class: Class) -> &'a mut Lane<T> {
    match class {
        Class::NearHead => near_head,
        Class::CatchUp => catch_up,
    }
}

#[cfg(test)]
mod tests;
