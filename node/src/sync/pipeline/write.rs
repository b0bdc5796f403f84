//! The writer: verified items into the store, many in one durable transaction.
//!
//! A durable commit costs a sync of the disk whatever it holds, so while verification goes on the writer lets items
//! gather; when nothing more is on its way it commits at once, which keeps the delay at the head short.

use std::{sync::Arc, time::Duration};

use lapis_storage::{Batch, Store};
use tokio::{
    sync::mpsc,
    time::{Instant, timeout_at},
};

use super::{InVerification, Inside, PipelineConfig, PipelineEvent, Proven, ProvenData};
use crate::{
    metrics::PipelineMetrics,
    sync::scheduler::{Item, SIDECAR_BYTES},
};

/// Longest time that a verified item waits for company.
const LINGER: Duration = Duration::from_millis(50);

pub(super) struct Writer {
    pub(super) config: PipelineConfig,
    pub(super) store: Store,
    pub(super) pending: InVerification,
    pub(super) inside: Inside,
    pub(super) events: mpsc::Sender<PipelineEvent>,
    pub(super) metrics: Arc<PipelineMetrics>,
}

/// One transaction in the making.
#[derive(Default)]
struct Gathered {
    batch: Batch,
    items: Vec<Item>,
    bytes: usize,
    /// How many of the items came from archives.
    archived: usize,
}

impl Gathered {
    fn push(&mut self, Proven { source, item, data }: Proven) {
        self.items.push(item);
        self.archived += usize::from(source.is_archive());
        match data {
            ProvenData::Blob(sidecar) => {
                self.bytes += usize::try_from(SIDECAR_BYTES).unwrap_or(usize::MAX);
                self.batch.blobs.push(sidecar);
            }
            ProvenData::Payload(envelope) => {
                self.bytes = self.bytes.saturating_add(envelope.payload.len());
                self.batch.payloads.push(envelope);
            }
        }
    }
}

impl Writer {
    /// Works until the queue is closed and empty.
    pub(super) async fn run(self, mut queue: mpsc::Receiver<Proven>) {
        while let Some(first) = queue.recv().await {
            let gathered = self.gather(first, &mut queue).await;
            let Some(event) = self.commit(gathered).await else { return };
            if self.events.send(event).await.is_err() {
                return;
            }
        }
    }

    async fn gather(&self, first: Proven, queue: &mut mpsc::Receiver<Proven>) -> Gathered {
        let mut gathered = Gathered::default();
        gathered.push(first);
        let deadline = Instant::now() + LINGER;
        while gathered.bytes < self.config.max_transaction_bytes && !(queue.is_empty() && self.pending.is_empty()) {
            match timeout_at(deadline, queue.recv()).await {
                Ok(Some(proven)) => gathered.push(proven),
                Ok(None) | Err(_) => break,
            }
        }
        gathered
    }

    /// `None` if the runtime is shutting down.
    async fn commit(&self, gathered: Gathered) -> Option<PipelineEvent> {
        let Gathered { batch, items, bytes, archived } = gathered;
        let store = self.store.clone();
        let started = Instant::now();
        let result = match tokio::task::spawn_blocking(move || store.insert(batch)).await {
            Ok(result) => result,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_cancelled) => return None,
            },
        };
        self.inside.leave(&items);
        Some(match result {
            Ok(_) => {
                self.metrics.committed(items.len(), archived, bytes, started.elapsed());
                PipelineEvent::Stored { items }
            }
            Err(error) => PipelineEvent::NotStored { items, error },
        })
    }
}
