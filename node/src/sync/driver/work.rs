//! Work for the scheduler out of the store, and exchanges for what it asks.

use std::time::{Duration, Instant};

use lapis_storage::StoreError;
use tokio_util::sync::CancellationToken;

use super::{SyncEngine, SyncError};
use crate::sync::{
    fetch::{FetchTask, Supplier},
    scheduler::{Action, Input, Missing, Outcome, Report, SourceId},
};

/// How long after a damaged row was met it is tried again to tell what is missing.
const LOAD_AGAIN: Duration = Duration::from_secs(1);

impl SyncEngine {
    pub(super) fn start(&mut self, action: Action) {
        let supplier = match action.source {
            SourceId::Peer(peer) => Some(Supplier::Peer(peer, Box::new(self.parts.network.clone()))),
            SourceId::Archive(id) => self.archives.get(id).map(|archive| Supplier::Archive(id, archive)),
            SourceId::Pool => self.pool.get().map(Supplier::Pool),
        };
        let Some(supplier) = supplier else {
            self.inform(Input::Finished { id: action.id, report: Report::empty(Outcome::Local) });
            return;
        };
        let cancel = CancellationToken::new();
        self.cancels.insert(action.id, cancel.clone());
        let task = FetchTask::new(supplier, self.outlets.clone(), cancel, action.id);
        self.fetches.spawn(task.run(action.fetch));
    }

    /// Tops up the scheduler's window of incomplete heights from the store.
    pub(super) async fn load(&mut self) -> Result<(), SyncError> {
        // Not from the watermarks: they hide a floor that is above what is available, and do not move with it.
        self.inform(Input::WaiveBlobsBelow(self.parts.store.blob_floor()));
        let now = Instant::now();
        if self.unreadable_until.is_some_and(|until| now < until) {
            return Ok(());
        }
        let Some(heights) = self.scheduler.wants_load() else { return Ok(()) };
        let store = self.parts.store.clone();
        let range = heights.clone();
        let most = self.scheduler.load_room();
        let missing = tokio::task::spawn_blocking(move || store.missing(range, most)).await?;
        if let Err(StoreError::Damaged(damage)) = missing {
            // Asking for other things goes on meanwhile, the damaged row among them.
            self.parts.repairs.report(damage);
            self.unreadable_until = Some(now + LOAD_AGAIN);
            return Ok(());
        }
        let Some(missing) = self.unless_it_passes(missing)? else { return Ok(()) };
        let last = missing.last().filter(|_| missing.len() >= most).map(|gap| gap.height);
        let missing = missing
            .into_iter()
            .map(|gap| Missing { value: gap.value, payload: gap.payload, blobs: gap.blobs })
            .collect();
        self.inform(Input::Load { missing, loaded_to: last.unwrap_or(heights.end.saturating_sub(1)) });
        Ok(())
    }
}
