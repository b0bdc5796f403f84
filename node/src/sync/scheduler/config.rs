//! Bounds of the scheduler, and what it is told and tells beside its actions.

use std::{collections::HashSet, ops::Range, time::Duration};

use lapis_protocol_spec::{Bytes32, Height};
use serde::{Deserialize, Serialize};

use super::{
    action::{Item, Outcome},
    mend::Mend,
};

/// How requests are spread over time and peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pacing {
    /// As much as peers deliver and memory takes.
    Adaptive,
    /// The Soma design, for comparison: one request at a time, this long apart.
    Fixed(Duration),
}

/// Bounds of the scheduler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchedulerConfig {
    /// Bytes asked for or received and not yet stored.
    pub max_buffered_bytes: u64,
    /// Bytes that one request asks for, unless a single item is larger. Of who is fast and far away twice as many are asked
    /// for, if that is no more than an eighth of `max_buffered_bytes`.
    pub max_request_bytes: u64,
    /// Bytes out of `max_buffered_bytes` that are kept for asking a second time for what holds up the order; 0 if nothing
    /// is asked for twice. More than a quarter of the whole counts as a quarter.
    pub hedge_bytes: u64,
    /// How far above the imported height data is fetched.
    pub max_heights_ahead: u64,
    /// Incomplete heights held in memory.
    pub max_loaded_heights: usize,
    /// Pacing of requests.
    pub pacing: Pacing,
    /// Whether decided values are fetched from peers (they may come from a local source instead).
    pub follow: bool,
    /// How long peers are not asked for blobs of a new height for which the execution client's pool is to be asked, and
    /// how long a call of it may take.
    #[serde(default)]
    pub pool_head_start: Duration,
}

impl Default for SchedulerConfig {
    fn default() -> Self {
        Self {
            max_buffered_bytes: 64 * 1024 * 1024,
            max_request_bytes: 4 * 1024 * 1024,
            hedge_bytes: 4 * 1024 * 1024,
            max_heights_ahead: 1000,
            max_loaded_heights: 512,
            pacing: Pacing::Adaptive,
            follow: true,
            pool_head_start: Duration::from_millis(250),
        }
    }
}

impl SchedulerConfig {
    /// Bytes that may be in flight a second time.
    pub(super) fn hedge_room(&self) -> u64 {
        match self.pacing {
            Pacing::Adaptive => self.hedge_bytes.min(self.max_buffered_bytes / 4),
            Pacing::Fixed(_) => 0,
        }
    }

    /// Bytes that may be asked for or received and not stored, what is asked for a second time apart.
    pub(super) fn first_room(&self) -> u64 {
        self.max_buffered_bytes.saturating_sub(self.hedge_room())
    }

    /// Bytes that one request to who is far away asks for. Fixed pacing has requests of one size.
    pub(super) fn far_request_bytes(&self) -> u64 {
        match self.pacing {
            Pacing::Adaptive => {
                self.max_request_bytes.saturating_mul(2).min(self.max_buffered_bytes / 8).max(self.max_request_bytes)
            }
            Pacing::Fixed(_) => self.max_request_bytes,
        }
    }

    /// Bytes that may be in flight to sources that have not delivered anything yet, while others could be asked.
    pub(super) fn exploration_room(&self) -> u64 {
        self.max_buffered_bytes / 4
    }
}

/// Why nothing more can be asked for, though something is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Blocked {
    /// No peer is connected, and no archive has what is missing.
    NoPeers,
    /// No connected peer and no archive claims to have this, or all that do were asked and lack it.
    NobodyHas(Range<Height>),
    /// Peers that claim it, and have not said that they lack it, are busy, paused or just failed to deliver it.
    PeersBusy(Range<Height>),
    /// No peer claims it; archives that do are busy, paused or just failed to deliver it.
    ArchivesBusy(Range<Height>),
    /// The byte budget is used up by what waits for verification or the store.
    BufferFull,
    /// Our own disk or memory did not take what arrived: nothing is asked for until that had time to pass.
    OwnTrouble,
    /// The set that signs this height is not known, and nobody who was asked has it.
    NoValidatorSet {
        /// Its root, as the value before names it.
        root: Bytes32,
        /// The height that it signs.
        height: Height,
    },
    /// A damaged row of the store waits for somebody who has it.
    StoreDamaged(Mend),
    /// Import is too far behind.
    ImporterBehind,
}

impl Blocked {
    /// Whether it may end when other peers take the place of those that there are.
    pub fn is_for_other_peers(&self) -> bool {
        match self {
            Self::NoPeers
            | Self::NobodyHas(_)
            | Self::PeersBusy(_)
            | Self::ArchivesBusy(_)
            | Self::NoValidatorSet { .. }
            | Self::StoreDamaged(_) => true,
            Self::BufferFull | Self::OwnTrouble | Self::ImporterBehind => false,
        }
    }
}

/// What the scheduler counted since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Second requests for what held up the order.
    pub hedges: u64,
    /// Those of them that brought something before the first request did.
    pub hedges_won: u64,
    /// Bytes of items that came twice, or failed verification.
    pub wasted_bytes: u64,
    /// Requests for data by root to peers that do not claim it.
    pub unclaimed_requests: u64,
    /// Payloads and blobs that came of them.
    pub unclaimed_items: u64,
    /// Calls of the execution client's pool.
    pub pool_calls: u64,
    /// Blobs that it gave.
    pub pool_blobs: u64,
    /// Blobs that it was asked for and does not have.
    pub pool_misses: u64,
    /// Calls that it did not answer, or not in time.
    pub pool_failures: u64,
    /// Blobs that it gave and that failed verification.
    pub pool_faults: u64,
}

/// What a finished exchange brought.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// How it ended.
    pub outcome: Outcome,
    /// Items that arrived and match (they are in verification now).
    pub received: HashSet<Item>,
    /// Items that arrived after somebody else had brought them, and were dropped.
    #[serde(default, skip_serializing_if = "HashSet::is_empty")]
    pub duplicates: HashSet<Item>,
    /// Their bytes.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub duplicate_bytes: u64,
    /// Decided values that arrived in order from the first asked for.
    pub values: u64,
    /// Payload bytes that arrived.
    pub bytes: u64,
    /// The height at which it went wrong, where heights are independent of each other: of later ones it says nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broke_at: Option<Height>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Report {
    /// Nothing arrived.
    pub fn empty(outcome: Outcome) -> Self {
        Self {
            outcome,
            received: HashSet::new(),
            duplicates: HashSet::new(),
            duplicate_bytes: 0,
            values: 0,
            bytes: 0,
            broke_at: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixed_pacing_asks_neither_for_more_of_who_is_far_nor_a_second_time() {
        let adaptive = SchedulerConfig::default();
        let fixed = SchedulerConfig { pacing: Pacing::Fixed(Duration::from_millis(200)), ..adaptive };
        assert_eq!((adaptive.far_request_bytes(), adaptive.hedge_room()), (8 * 1024 * 1024, 4 * 1024 * 1024));
        assert_eq!((fixed.far_request_bytes(), fixed.hedge_room()), (4 * 1024 * 1024, 0));
    }
}
