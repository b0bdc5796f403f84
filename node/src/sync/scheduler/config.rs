//! Bounds of the scheduler, and what it is told and tells beside its actions.

use std::{collections::HashSet, ops::Range, time::Duration};

use lapis_protocol_spec::Height;

use super::{
    action::{Item, Outcome},
    mend::Mend,
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

/// Why nothing more can be asked for, though something is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Blocked {
    /// No peer is connected, and no archive has what is missing.
    NoPeers,
    /// No connected peer and no archive claims to have this.
    NobodyHas(Range<Height>),
    /// Peers that have it are busy, paused or just failed to deliver it.
    PeersBusy(Range<Height>),
    /// No peer claims it; archives that do are busy, paused or just failed to deliver it.
    ArchivesBusy(Range<Height>),
    /// The byte budget is used up by what waits for verification or the store.
    BufferFull,
    /// Our own disk or memory did not take what arrived: nothing is asked for until that had time to pass.
    OwnTrouble,
    /// A damaged row of the store waits for somebody who has it.
    StoreDamaged(Mend),
    /// Import is too far behind.
    ImporterBehind,
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
    /// The height at which it went wrong, where heights are independent of each other: of later ones it says nothing.
    pub broke_at: Option<Height>,
}

impl Report {
    /// Nothing arrived.
    pub fn empty(outcome: Outcome) -> Self {
        Self { outcome, received: HashSet::new(), values: 0, bytes: 0, broke_at: None }
    }
}
