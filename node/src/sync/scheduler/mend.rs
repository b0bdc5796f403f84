//! Rows that the store has and cannot read: values with certificates, and validator sets, fetched again out of turn.
//!
//! Each is asked of one source at a time. Whoever does not have it is left out for a while as with anything else; if what
//! came does not mend the row, the next attempt waits, twice as long each time.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use lapis_protocol_spec::{Bytes32, Height};
use serde::{Deserialize, Serialize};

use super::{
    Ended, Flight, Report, Scheduler,
    action::{Fetch, RequestId},
};
use crate::back_off::doubled;

/// Rows that wait to be mended. More are reported again when they are met again.
const MAX_MENDS: usize = 64;
/// First wait after an attempt in vain.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// Longest wait between two attempts.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// A row that is to be fetched again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mend {
    /// The decided value of a height, with its certificate.
    Value(Height),
    /// The validator set with this root.
    ValidatorSet(#[serde(with = "crate::genesis_file::hex_bytes")] Bytes32),
}

impl Mend {
    /// What to ask for. `decided` is the height below which no peer has forgotten a set.
    pub(super) fn fetch(self, decided: Height) -> Fetch {
        match self {
            Self::Value(height) => Fetch::Values(height..height.saturating_add(1)),
            Self::ValidatorSet(root) => Fetch::ValidatorSet { root, height: decided },
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// To be asked for, not before this.
    Wanted(Option<Instant>),
    InFlight(RequestId),
    /// It came, and is being held against the rest of the store.
    Arrived,
}

#[derive(Clone, Copy, Debug)]
struct Work {
    stage: Stage,
    in_vain: u32,
}

/// State of mending.
#[derive(Debug, Default)]
pub(super) struct MendLane {
    works: BTreeMap<Mend, Work>,
}

impl MendLane {
    /// Wants `mend`, unless it does already or too much else is wanted. There is no value of height 0.
    pub(super) fn want(&mut self, mend: Mend) {
        if self.works.len() < MAX_MENDS && mend != Mend::Value(0) {
            self.works.entry(mend).or_insert(Work { stage: Stage::Wanted(None), in_vain: 0 });
        }
    }

    /// One of the rows that wait, the value of the lowest height if it is a value.
    pub(super) fn first(&self) -> Option<Mend> {
        self.works.first_key_value().map(|(mend, _)| *mend)
    }

    /// What may be asked for now.
    pub(super) fn due(&self, now: Instant) -> Vec<Mend> {
        let is_due = |work: &Work| matches!(work.stage, Stage::Wanted(from) if from.is_none_or(|from| from <= now));
        self.works.iter().filter(|(_, work)| is_due(work)).map(|(mend, _)| *mend).collect()
    }

    /// `mend` was asked for.
    pub(super) fn started(&mut self, mend: Mend, id: RequestId) {
        if let Some(work) = self.works.get_mut(&mend) {
            work.stage = Stage::InFlight(id);
        }
    }

    /// The request `id` ended. Gives what it was for if that has come.
    pub(super) fn finished(&mut self, id: RequestId, has_come: bool, now: Instant) -> Option<Mend> {
        let (mend, work) = self.works.iter_mut().find(|(_, work)| work.stage == Stage::InFlight(id))?;
        if has_come {
            work.stage = Stage::Arrived;
            return Some(*mend);
        }
        match mend {
            // Who lacked the value is left out; somebody else may be asked at once.
            Mend::Value(_) => work.stage = Stage::Wanted(None),
            Mend::ValidatorSet(_) => work.wait(now),
        }
        None
    }

    /// What came for `mend` did not mend it.
    pub(super) fn failed(&mut self, mend: Mend, now: Instant) {
        if let Some(work) = self.works.get_mut(&mend) {
            work.wait(now);
        }
    }

    /// The row can be read again.
    pub(super) fn done(&mut self, mend: Mend) {
        self.works.remove(&mend);
    }
}

impl Scheduler {
    /// An exchange that was to mend a row ended.
    pub(super) fn mend_finished(
        &mut self,
        id: RequestId,
        mend: Mend,
        flight: &Flight,
        report: &Report,
        now: Instant,
    ) -> Ended {
        let has_come = report.bytes > 0;
        if let Mend::Value(height) = mend
            && !has_come
        {
            self.book.lacks(flight.source, height, report.outcome, now);
        }
        self.mends.finished(id, has_come, now).map_or(Ended::Other, Ended::Mend)
    }
}

impl Work {
    fn wait(&mut self, now: Instant) {
        let wait = doubled(FIRST_WAIT, self.in_vain, LONGEST_WAIT);
        self.in_vain = self.in_vain.saturating_add(1);
        self.stage = Stage::Wanted(Some(now + wait));
    }
}
