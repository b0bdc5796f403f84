//! How fast the late node catches up, and whether anything moves at all.

use std::time::{Duration, Instant};

use lapis_protocol_spec::Height;

use super::{error::DevnetError, network::Member};

/// Without any progress of a node for this long the run has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// How the late node catches up: from its start until it has imported what is decided.
#[derive(Default)]
pub(super) struct CatchUp {
    started: Option<Instant>,
    pub(super) behind: u64,
    pub(super) blobs: u64,
    pub(super) took: Duration,
    done: bool,
}

impl CatchUp {
    pub(super) fn begin(&mut self, decided: Height) {
        self.started = Some(Instant::now());
        self.behind = decided;
    }

    pub(super) fn look(&mut self, late: &Member, decided: Height) {
        let Some(started) = self.started.filter(|_| !self.done) else { return };
        self.took = started.elapsed();
        self.blobs = late.handle.metrics.pipeline.verified_blobs();
        // At a moving head one height is always under way.
        self.done = late.imported() + 1 >= decided;
    }
}

/// Notices when nothing moves.
pub(super) struct Patience {
    moved: Instant,
    seen: (Height, Height),
    patience: Duration,
}

impl Patience {
    pub(super) fn new(block_time: Duration) -> Self {
        let patience = PATIENCE.saturating_add(block_time.saturating_mul(3));
        Self { moved: Instant::now(), seen: (0, 0), patience }
    }

    pub(super) fn look(&mut self, member: &Member, decided: Height, heights: Height) -> Result<(), DevnetError> {
        let now = (decided, member.imported());
        if now != self.seen {
            (self.seen, self.moved) = (now, Instant::now());
        }
        if self.moved.elapsed() < self.patience {
            return Ok(());
        }
        let status = member.handle.status.borrow();
        let status = status.stall.as_ref().map_or_else(|| "no reason known".to_owned(), ToString::to_string);
        Err(DevnetError::Stuck { node: member.name.clone(), imported: now.1, heights, status })
    }
}
