//! Retention: what the chain no longer asks for is given up, in bounded transactions, traffic or not.

use std::time::{Duration, SystemTime};

use lapis_protocol_spec::Height;
use lapis_storage::{PruneAllow, PruneOptions, Store, StoreError, Watermarks};
use tokio::{task::JoinError, time::MissedTickBehavior};
use tokio_util::sync::CancellationToken;

mod archive_watch;

pub use self::archive_watch::ArchiveWatch;
use crate::{feed::WatermarkFeed, metrics::Metrics};

/// How often undecided data is looked at for expiry, and retention without new heights.
const INTERVAL: Duration = Duration::from_secs(30);

/// What is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Blobs of this many heights below the highest decided one, and of that one; `None` for all.
    pub blob_heights: Option<u64>,
    /// How many of them the chain obliges every node to keep: only blobs older than that may be missing on purpose.
    pub network_heights: u64,
    /// Whether heights older than `network_heights` are complete without their blobs.
    pub waive_below_network: bool,
    /// What else must have happened to heights before they are pruned.
    pub allow: PruneAllow,
}

impl Retention {
    /// Lowest height whose blobs are kept, at a chain that has decided `decided`.
    fn floor(heights: u64, decided: Height) -> Height {
        decided.saturating_sub(heights).saturating_add(1)
    }
}

/// The pruning task.
#[derive(Debug)]
pub struct Pruner {
    /// What is kept.
    pub retention: Retention,
    /// Where.
    pub store: Store,
    /// Watermarks of the store.
    pub feed: WatermarkFeed,
    /// Counters.
    pub metrics: Metrics,
    /// Where archives are, if they are to be there before heights are pruned.
    pub archive: Option<ArchiveWatch>,
}

/// Why pruning ended. Always our own fault.
#[derive(Debug, thiserror::Error)]
pub enum PruneError {
    /// The store failed.
    #[error("the store failed: {0}")]
    Store(#[from] StoreError),
    /// A task panicked.
    #[error("a pruning task failed: {0}")]
    Task(#[from] JoinError),
}

impl Pruner {
    /// Runs until `shutdown`.
    ///
    /// # Errors
    /// [`PruneError`] if the node cannot go on.
    pub async fn run(mut self, shutdown: CancellationToken) -> Result<(), PruneError> {
        let mut watermarks = self.feed.subscribe();
        let mut interval = tokio::time::interval(INTERVAL);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                changed = watermarks.changed() => if changed.is_err() { return Ok(()) },
                _ = interval.tick() => self.expire().await?,
            }
            let marks = *watermarks.borrow_and_update();
            self.waive(marks).await?;
            self.prune(marks, &shutdown).await?;
        }
    }

    async fn waive(&self, marks: Watermarks) -> Result<(), PruneError> {
        let floor = Retention::floor(self.retention.network_heights, marks.decided);
        let reached = marks.available.saturating_add(1).max(self.store.blob_floor());
        if !self.retention.waive_below_network || floor <= reached {
            return Ok(());
        }
        let store = self.store.clone();
        let waived = tokio::task::spawn_blocking(move || store.waive_blobs_below(floor)).await?;
        if unless_held_up(waived)?.is_none() {
            return Ok(());
        }
        tracing::info!(floor, "blobs below the network's retention are not waited for");
        self.feed.refresh();
        Ok(())
    }

    async fn prune(&mut self, marks: Watermarks, shutdown: &CancellationToken) -> Result<(), PruneError> {
        let Some(heights) = self.retention.blob_heights else { return Ok(()) };
        let floor = Retention::floor(heights, marks.decided);
        if floor <= marks.earliest_blob.max(1) {
            return Ok(());
        }
        let floor = match &mut self.archive {
            Some(archive) => tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                there = archive.there_up_to(&self.store, floor) => there?,
            },
            None => floor,
        };
        let options = PruneOptions { allow: self.retention.allow, ..PruneOptions::default() };
        while !shutdown.is_cancelled() {
            let store = self.store.clone();
            let step = tokio::task::spawn_blocking(move || store.prune_below(floor, options)).await?;
            let Some(pruned) = unless_held_up(step)? else { break };
            self.metrics.store.pruned(pruned.blobs);
            self.feed.refresh();
            if pruned.done {
                break;
            }
        }
        Ok(())
    }

    async fn expire(&self) -> Result<(), PruneError> {
        let store = self.store.clone();
        let expired = tokio::task::spawn_blocking(move || store.expire_undecided(SystemTime::now())).await?;
        if let Some(dropped) = unless_held_up(expired)? {
            self.metrics.store.dropped(dropped.blobs);
        }
        Ok(())
    }
}

/// A damaged row or a failing disk holds pruning up; neither is a reason to stop serving and following the chain.
fn unless_held_up<T>(result: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
    match result {
        Err(error @ StoreError::Damaged(_)) => {
            tracing::error!(%error, "pruning is held up");
            Ok(None)
        }
        Err(error) if error.may_pass() => {
            tracing::warn!(%error, "pruning is held up");
            Ok(None)
        }
        result => result.map(Some),
    }
}
