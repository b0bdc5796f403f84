//! Damaged rows: what can be made again is, what cannot is fetched again by sync.
//!
//! Serving and import report what they could not read. This task deletes the row of a payload or a blob (if it is still
//! damaged), makes again what follows from other rows, and tells sync what to fetch. Reports beyond the queue are
//! dropped: whoever meets the row next reports it again.

use std::convert::Infallible;

use lapis_protocol_spec::{Bytes32, Height};
use lapis_storage::{Damage, Store, StoreError, TableName};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{feed::WatermarkFeed, metrics::Metrics};

/// Reports that wait.
const QUEUE: usize = 64;

/// What was met.
#[derive(Clone, Copy, Debug)]
enum Report {
    Row(Damage),
    /// The row of the validator set with this root.
    ValidatorSet(Bytes32),
}

/// Where damage is reported. Cheap to clone; never waits.
#[derive(Clone, Debug)]
pub struct RepairRequests(mpsc::Sender<Report>);

impl RepairRequests {
    /// Reports a damaged row.
    pub fn report(&self, damage: Damage) {
        tracing::error!(table = %damage.table, height = damage.height, index = damage.index, "damaged row");
        self.send(Report::Row(damage));
    }

    /// Reports that the row of the validator set with this root is damaged.
    pub fn report_validator_set(&self, root: Bytes32) {
        tracing::error!(table = %TableName::ValidatorSets, %root, "damaged row");
        self.send(Report::ValidatorSet(root));
    }

    fn send(&self, report: Report) {
        // A full queue means that enough is being repaired; the row will be met again.
        let _ = self.0.try_send(report);
    }
}

/// What sync is to look for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// Data of this height was dropped, or the height is counted anew.
    Data(Height),
    /// The decided value of this height, or its certificate, cannot be read.
    Value(Height),
    /// The validator set with this root cannot be read.
    ValidatorSet(Bytes32),
}

/// What was lost, for sync to fetch it again.
pub type Repaired = mpsc::Receiver<Lost>;

/// The repairing task.
#[derive(Debug)]
pub struct Repairer {
    reports: mpsc::Receiver<Report>,
    repaired: mpsc::Sender<Lost>,
    store: Store,
    feed: WatermarkFeed,
    metrics: Metrics,
}

impl Repairer {
    /// The task, the way to it and what comes out of it.
    pub fn new(store: Store, feed: WatermarkFeed, metrics: Metrics) -> (Self, RepairRequests, Repaired) {
        let (requests, reports) = mpsc::channel(QUEUE);
        let (repaired, lost) = mpsc::channel(QUEUE);
        (Self { reports, repaired, store, feed, metrics }, RepairRequests(requests), lost)
    }

    /// Runs until `shutdown`.
    ///
    /// # Errors
    /// None: what cannot be repaired is logged.
    pub async fn run(mut self, shutdown: CancellationToken) -> Result<(), Infallible> {
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                Some(report) = self.reports.recv() => {
                    let lost = match report {
                        Report::Row(damage) => self.repair(damage).await,
                        Report::ValidatorSet(root) => {
                            self.metrics.damaged_row(TableName::ValidatorSets);
                            self.lost(Lost::ValidatorSet(root)).await
                        }
                    };
                    if let Some(lost) = lost {
                        // Sync may be stopping; then the damage is met again after the next start.
                        let _ = self.repaired.send(lost).await;
                    }
                }
            }
        }
    }

    /// What is to be fetched now, if anything can be done.
    async fn repair(&self, damage: Damage) -> Option<Lost> {
        self.metrics.damaged_row(damage.table);
        match damage.table {
            TableName::Values | TableName::Certificates => return self.lost(Lost::Value(damage.height)).await,
            TableName::Meta | TableName::ValidatorSets => {
                tracing::error!(%damage, "a damaged row that nothing names");
                return None;
            }
            TableName::ValueIds
            | TableName::Heights
            | TableName::States
            | TableName::Payloads
            | TableName::Places
            | TableName::Blobs
            | TableName::Ranges => {}
        }
        let store = self.store.clone();
        match tokio::task::spawn_blocking(move || store.discard_damaged(&damage)).await {
            Ok(Ok(discarded)) => {
                tracing::warn!(%damage, discarded, "damaged row dropped or made again");
                self.feed.refresh();
                Some(Lost::Data(damage.height))
            }
            // It follows from the value, which is damaged itself.
            Ok(Err(StoreError::Damaged(Damage { table: TableName::Values, height, .. }))) => Some(Lost::Value(height)),
            Ok(Err(error)) => {
                tracing::error!(%damage, %error, "a damaged row can neither be dropped nor made again");
                None
            }
            Err(error) => {
                tracing::error!(%damage, %error, "repair did not run");
                None
            }
        }
    }

    /// `lost`, unless it can be read by now: reports of the same row come one after the other.
    async fn lost(&self, lost: Lost) -> Option<Lost> {
        let store = self.store.clone();
        let read = tokio::task::spawn_blocking(move || match lost {
            Lost::Value(height) => store.get_decided(height).map(drop),
            Lost::ValidatorSet(root) => store.validator_set(&root).map(drop),
            Lost::Data(_) => Ok(()),
        });
        match read.await {
            Ok(Err(StoreError::Damaged(_))) => Some(lost),
            Ok(Ok(())) => None,
            Ok(Err(error)) => {
                tracing::error!(?lost, %error, "a row that was damaged cannot be looked at");
                None
            }
            Err(error) => {
                tracing::error!(?lost, %error, "repair did not run");
                None
            }
        }
    }
}
