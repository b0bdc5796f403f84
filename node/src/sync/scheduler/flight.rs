//! Exchanges that are under way.

use std::time::{Duration, Instant};

use lapis_protocol_spec::Method;

use super::{
    Mend,
    action::{Item, Outcome, SourceId},
    hedge::{Hedge, Wait},
    source::Delivery,
    sources::Arrival,
};

/// Why an exchange is to end before its answer does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cancelled {
    /// A peer may give what an archive is slow to give.
    Recalled,
    /// Somebody else was faster, or may be.
    Outrun,
    /// The pool took longer than it may.
    Overdue,
}

/// An exchange that the scheduler asked for.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) source: SourceId,
    pub(super) method: Method,
    pub(super) items: Vec<Item>,
    /// Bytes asked for.
    pub(super) bytes: u64,
    /// Bytes that have arrived.
    pub(super) arrived: u64,
    pub(super) started: Instant,
    /// When something came last; at first when it was asked for.
    pub(super) last_progress: Instant,
    /// When the order waited for it first, and the bytes that had arrived by then.
    obstructs: Option<(Instant, u64)>,
    /// The row that it is to mend, if it is for that.
    pub(super) mend: Option<Mend>,
    /// Set if it asks for what somebody else was asked for before.
    pub(super) hedge: Option<Hedge>,
    pub(super) cancelled: Option<Cancelled>,
    /// The source does not claim what it is asked for.
    pub(super) is_unclaimed: bool,
}

impl Flight {
    pub(super) fn new(source: SourceId, method: Method, items: Vec<Item>, bytes: u64, now: Instant) -> Self {
        Self {
            source,
            method,
            items,
            bytes,
            arrived: 0,
            started: now,
            last_progress: now,
            obstructs: None,
            mend: None,
            hedge: None,
            cancelled: None,
            is_unclaimed: false,
        }
    }

    /// Takes note of `bytes` bytes.
    pub(super) fn arrives(&mut self, bytes: u64, now: Instant) -> Arrival {
        let waited = (self.arrived == 0).then(|| self.waited(now));
        let reserved = bytes.min(self.bytes.saturating_sub(self.arrived));
        self.arrived = self.arrived.saturating_add(bytes);
        self.last_progress = now;
        Arrival { bytes, reserved, waited }
    }

    /// The order waits for it, and for `left` bytes of it where it is now. Gives for how long it has been in the way.
    pub(super) fn is_waited_for(&mut self, left: u64, now: Instant) -> Wait {
        let (since, arrived) = *self.obstructs.get_or_insert((now, self.arrived));
        Wait { since, bytes: self.arrived.saturating_sub(arrived).saturating_add(left) }
    }

    /// What it means that it has ended as `reported`.
    pub(super) fn outcome(&self, reported: Outcome) -> Outcome {
        match (self.cancelled, reported) {
            (Some(Cancelled::Outrun), Outcome::Local) => Outcome::Outrun,
            (Some(Cancelled::Overdue), Outcome::Local) => Outcome::Broken,
            (Some(_) | None, reported) => reported,
        }
    }

    /// What it was worth. Not to have what one does not claim is worth nothing, good or bad.
    pub(super) fn delivery(&self, outcome: Outcome, brought: usize, now: Instant) -> Delivery {
        let is_moot = self.is_unclaimed && outcome == Outcome::Unavailable;
        let outcome = if is_moot { Outcome::Local } else { outcome };
        Delivery {
            outcome,
            asked: self.bytes,
            unarrived: self.bytes.saturating_sub(self.arrived),
            arrived: self.arrived,
            is_short: !self.is_unclaimed && brought < self.items.len(),
            elapsed: self.waited(now),
        }
    }

    fn waited(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.started)
    }
}
