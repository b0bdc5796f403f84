//! The importer: complete heights, in order, into the execution engine.
//!
//! It follows the `available` watermark and moves `imported`. Nothing that the engine says or does costs a peer
//! anything, and no height is skipped: an engine that cannot take a height now is asked again, one that calls a decided
//! payload invalid halts import until people have looked at it.

use std::time::Duration;

use lapis_protocol_spec::Height;
use lapis_storage::{Conflict, Store, StoreError};
use tokio::{sync::watch, task::JoinError};
use tokio_util::sync::CancellationToken;

use crate::{
    chain::Chain,
    execution::{ExecutionEngine, ForkSchedule, ImportBlock, PayloadStatus},
    feed::WatermarkFeed,
    metrics::Metrics,
    repair::RepairRequests,
};

/// First wait before an engine that could not take a height is asked again; doubles up to [`LONGEST_RETRY`].
const FIRST_RETRY: Duration = Duration::from_millis(200);
/// Longest wait between two attempts.
const LONGEST_RETRY: Duration = Duration::from_secs(30);

/// What the importer is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ImportState {
    /// All that is available is imported.
    #[default]
    Idle,
    /// Importing.
    Importing(Height),
    /// The engine is itself syncing, or has accepted without validating.
    Syncing(Height),
    /// The height cannot be read from the store; what is damaged is fetched again.
    Unreadable(Height),
    /// The engine cannot be reached.
    Unavailable(Height, String),
    /// The engine calls a decided payload invalid, or the payload is not what was certified.
    Halted(Height, String),
}

/// What the importer works with.
pub struct Importer {
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

/// Result of offering one height.
enum Offered {
    Imported,
    Later,
    Halted,
}

impl Importer {
    /// Runs until `shutdown`.
    ///
    /// # Errors
    /// [`ImportError`] if the node cannot go on. The engine's troubles are states, not errors.
    pub async fn run(mut self, shutdown: CancellationToken) -> Result<(), ImportError> {
        let mut watermarks = self.feed.subscribe();
        let mut retry = FIRST_RETRY;
        loop {
            let wait = match self.catch_up(&shutdown, &mut retry).await? {
                Offered::Imported => {
                    retry = FIRST_RETRY;
                    None
                }
                Offered::Later => {
                    let wait = retry;
                    retry = (retry * 2).min(LONGEST_RETRY);
                    Some(wait)
                }
                Offered::Halted => break,
            };
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                () = tokio::time::sleep(wait.unwrap_or(Duration::MAX)), if wait.is_some() => {}
                changed = watermarks.changed(), if wait.is_none() => if changed.is_err() { return Ok(()) },
            }
        }
        shutdown.cancelled().await;
        Ok(())
    }

    /// Imports all that is available, height by height. Each one imported starts `retry` over.
    async fn catch_up(&mut self, shutdown: &CancellationToken, retry: &mut Duration) -> Result<Offered, ImportError> {
        loop {
            let marks = self.feed.current();
            if marks.imported >= marks.available || shutdown.is_cancelled() {
                self.tell(ImportState::Idle);
                return Ok(Offered::Imported);
            }
            let next = marks.imported.saturating_add(1);
            let offered = match self.offer(next).await? {
                Offered::Imported => self.save(next).await?,
                held_up => held_up,
            };
            match offered {
                Offered::Imported => *retry = FIRST_RETRY,
                Offered::Later | Offered::Halted => return Ok(offered),
            }
        }
    }

    async fn offer(&mut self, height: Height) -> Result<Offered, ImportError> {
        // The watermark may go back when the disk failed; what the engine has, it keeps.
        if self.engine.head().is_some_and(|head| head.height > height) {
            return Ok(Offered::Imported);
        }
        let store = self.store.clone();
        let found = match tokio::task::spawn_blocking(move || store.get_for_import(height)).await? {
            Ok(found) => found,
            Err(StoreError::Damaged(damage)) => {
                self.repairs.report(damage);
                None
            }
            Err(error) if error.may_pass() => {
                tracing::warn!(height, %error, "cannot read the next height to import");
                None
            }
            Err(error) => return Err(error.into()),
        };
        // Available and yet not readable as a whole: a row is damaged; it will be fetched again.
        let Some(found) = found else {
            self.tell(ImportState::Unreadable(height));
            return Ok(Offered::Later);
        };
        let block =
            match ImportBlock::new(&found.decided.value, &found.payload, ForkSchedule::from(self.chain.genesis())) {
                Ok(block) => block,
                Err(unsupported) => return Ok(self.halt(height, unsupported.to_string())),
            };
        let started = tokio::time::Instant::now();
        let status = self.engine.import(&block).await;
        self.metrics.import.observe(&status, started.elapsed());
        Ok(self.judge(height, status))
    }

    fn judge(&self, height: Height, status: PayloadStatus) -> Offered {
        match status {
            PayloadStatus::Valid { .. } => {
                self.tell(ImportState::Importing(height));
                Offered::Imported
            }
            PayloadStatus::Syncing | PayloadStatus::Accepted => {
                self.tell(ImportState::Syncing(height));
                Offered::Later
            }
            PayloadStatus::Unavailable(reason) => {
                self.tell(ImportState::Unavailable(height, reason.to_string()));
                Offered::Later
            }
            PayloadStatus::Invalid(reason) => self.halt(height, reason.to_string()),
            PayloadStatus::Uncertified(fault) => self.halt(height, fault.to_string()),
        }
    }

    fn halt(&self, height: Height, reason: String) -> Offered {
        tracing::error!(height, %reason, "import is halted: the execution engine refuses a decided payload");
        self.tell(ImportState::Halted(height, reason));
        Offered::Halted
    }

    /// Moves the watermark. `Later` if that cannot be now: the height has become incomplete since a damaged row of it was
    /// dropped, or the disk fails. The engine takes the same height again.
    async fn save(&mut self, height: Height) -> Result<Offered, ImportError> {
        let head = self.engine.head().filter(|head| head.height == height).map(|head| head.to_bytes());
        let store = self.store.clone();
        let saved = tokio::task::spawn_blocking(move || store.mark_imported(height, head.as_deref())).await?;
        self.feed.refresh();
        match saved {
            Ok(_) | Err(StoreError::Conflict(Conflict::NotNextImport { .. })) => Ok(Offered::Imported),
            Err(StoreError::Conflict(Conflict::NotAvailable { .. })) => Ok(Offered::Later),
            Err(error) if error.may_pass() => {
                tracing::warn!(height, %error, "the imported height cannot be noted");
                Ok(Offered::Later)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn tell(&self, state: ImportState) {
        self.state.send_if_modified(|old| {
            let changed = *old != state;
            *old = state;
            changed
        });
    }
}
