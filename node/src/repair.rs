//! Damaged rows: dropped, so that sync fetches them again.
//!
//! Serving and import report what they could not read; this task deletes the row (if it is still damaged) and tells sync
//! where to look. Reports beyond the queue are dropped: whoever meets the row next reports it again.

use std::convert::Infallible;

use lapis_protocol_spec::Height;
use lapis_storage::{Damage, Store};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{feed::WatermarkFeed, metrics::Metrics};

/// Reports that wait.
const QUEUE: usize = 64;

/// Where damage is reported. Cheap to clone; never waits.
#[derive(Clone, Debug)]
pub struct RepairRequests(mpsc::Sender<Damage>);

impl RepairRequests {
    /// Reports a damaged row.
    pub fn report(&self, damage: Damage) {
        tracing::error!(table = %damage.table, height = damage.height, index = damage.index, "damaged row");
        // A full queue means that enough is being repaired; the row will be met again.
        let _ = self.0.try_send(damage);
    }
}

/// Heights of which something was dropped, for sync to look at again.
pub type Repaired = mpsc::Receiver<Height>;

/// The repairing task.
#[derive(Debug)]
pub struct Repairer {
    reports: mpsc::Receiver<Damage>,
    repaired: mpsc::Sender<Height>,
    store: Store,
    feed: WatermarkFeed,
    metrics: Metrics,
}

impl Repairer {
    /// The task, the way to it and what comes out of it.
    pub fn new(store: Store, feed: WatermarkFeed, metrics: Metrics) -> (Self, RepairRequests, Repaired) {
        let (requests, reports) = mpsc::channel(QUEUE);
        let (repaired, heights) = mpsc::channel(QUEUE);
        (Self { reports, repaired, store, feed, metrics }, RepairRequests(requests), heights)
    }

    /// Runs until `shutdown`.
    ///
    /// # Errors
    /// None: what cannot be repaired is logged.
    pub async fn run(mut self, shutdown: CancellationToken) -> Result<(), Infallible> {
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                Some(damage) = self.reports.recv() => self.repair(damage).await,
            }
        }
    }

    async fn repair(&self, damage: Damage) {
        self.metrics.damaged_row(&damage);
        let store = self.store.clone();
        match tokio::task::spawn_blocking(move || store.discard_damaged(&damage)).await {
            Ok(Ok(discarded)) => {
                tracing::warn!(%damage, discarded, "damaged row dropped, to be fetched again");
                self.feed.refresh();
                // Sync may be stopping; then the gap is found at the next start.
                let _ = self.repaired.send(damage.height).await;
            }
            Ok(Err(error)) => tracing::error!(%damage, %error, "damaged row cannot be dropped"),
            Err(error) => tracing::error!(%damage, %error, "repair did not run"),
        }
    }
}
