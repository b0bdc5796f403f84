//! The importer: complete heights, in order, into the execution engine.
//!
//! It follows the `available` watermark and moves `imported`. Nothing that the engine says or does costs a peer
//! anything, and no height is skipped: an engine that cannot take a height now is asked again, one that lacks heights which
//! were imported once is given them again from the store, one that calls a decided payload invalid halts import until
//! people have looked at it.
//!
//! | module | owns |
//! | --- | --- |
//! | `plan` | what to do next, as a pure state machine over heights |
//! | `work` | doing it: calls of the engine, the watermark, the state |
//! | `step` | what the plan is told, and what it says |
//! | `search` | a part of it: the last height that an engine has |
//! | `blocks` | reading from the store, one block ahead |
//! | `evidence` | the file about a decided block that was refused |
//! | `state` | what the outside is told |

mod blocks;
mod evidence;
mod plan;
mod search;
mod state;
mod step;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests;
mod work;

use std::{num::NonZeroU64, path::PathBuf, time::Duration};

use lapis_storage::{Store, StoreError};
use tokio::{sync::watch, task::JoinError};
use tokio_util::sync::CancellationToken;

pub use self::state::ImportState;
use self::work::Work;
use crate::{chain::Chain, execution::ExecutionEngine, feed::WatermarkFeed, metrics::Metrics, repair::RepairRequests};

/// How an importer works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportSettings {
    /// Most blocks that a separate engine is offered between two forkchoice updates while it is behind.
    pub batch: NonZeroU64,
    /// How often a separate engine with nothing to do is told its head again.
    pub check_interval: Duration,
    /// Longest wait between two attempts.
    pub longest_retry: Duration,
    /// Directory for evidence about decided blocks that were refused; made when there is some.
    pub evidence: PathBuf,
}

/// What the importer works with.
pub struct Importer {
    /// How it works.
    pub settings: ImportSettings,
    /// The chain.
    pub chain: Chain,
    /// Where heights come from and the watermark is kept.
    pub store: Store,
    /// Where heights go.
    pub engine: Box<dyn ExecutionEngine>,
    /// Watermarks of the store.
    pub feed: WatermarkFeed,
    /// Counters.
    pub metrics: Metrics,
    /// Where damaged rows are reported.
    pub repairs: RepairRequests,
    /// Where to tell how it goes.
    pub state: watch::Sender<ImportState>,
}

/// Why import ended. Always our own fault.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The store failed.
    #[error("the store failed: {0}")]
    Store(#[from] StoreError),
    /// A task panicked.
    #[error("an import task failed: {0}")]
    Task(#[from] JoinError),
}

impl Importer {
    /// Runs until `shutdown`.
    ///
    /// # Errors
    /// [`ImportError`] if the node cannot go on. The engine's troubles are states, not errors.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), ImportError> {
        let mut work = Work::new(self, shutdown);
        let result = work.run().await;
        // Who stops the node may open the store again at once.
        work.drain().await;
        result
    }
}
