//! The writer: verified items into the store, many in one durable transaction.
//!
//! A durable commit costs a sync of the disk whatever it holds, so while verification goes on the writer lets items
//! gather; when nothing more is on its way it commits at once, which keeps the delay at the head short.
//!
//! It has one thread for all transactions: the pages of the database that a transaction fills, and that stay in its cache,
//! come from that thread's part of the heap, and not from one part for each thread that happened to run one.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        mpsc::{Receiver, TryRecvError},
    },
    time::{Duration, Instant},
};

use lapis_storage::{Batch, Store};
use tokio::sync::mpsc;

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
    /// Works until the queue is closed and empty, or nobody wants the news.
    pub(super) fn run(self, queue: Receiver<Vec<Proven>>) {
        // What was too much for the last transaction: at most the rest of one batch.
        let mut ready = VecDeque::new();
        loop {
            if ready.is_empty() {
                let Ok(batch) = queue.recv() else { return };
                ready.extend(batch);
            }
            let gathered = self.gather(&mut ready, &queue);
            if self.events.blocking_send(self.commit(gathered)).is_err() {
                return;
            }
        }
    }

    fn gather(&self, ready: &mut VecDeque<Proven>, queue: &Receiver<Vec<Proven>>) -> Gathered {
        let mut gathered = Gathered::default();
        let deadline = Instant::now() + LINGER;
        loop {
            while let Some(proven) = ready.pop_front() {
                gathered.push(proven);
                if gathered.bytes >= self.config.max_transaction_bytes {
                    return gathered;
                }
            }
            match self.more(queue, deadline) {
                Some(batch) => ready.extend(batch),
                None => return gathered,
            }
        }
    }

    /// What else is proven until `deadline`; does not wait if nothing is on its way.
    fn more(&self, queue: &Receiver<Vec<Proven>>, deadline: Instant) -> Option<Vec<Proven>> {
        match queue.try_recv() {
            Ok(batch) => Some(batch),
            Err(TryRecvError::Empty) if !self.pending.is_empty() => {
                queue.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok()
            }
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => None,
        }
    }

    fn commit(&self, Gathered { batch, items, bytes, archived }: Gathered) -> PipelineEvent {
        let started = Instant::now();
        let result = self.store.insert(batch);
        self.inside.leave(&items);
        match result {
            Ok(_) => {
                self.metrics.committed(items.len(), archived, bytes, started.elapsed());
                PipelineEvent::Stored { items }
            }
            Err(error) => PipelineEvent::NotStored { items, error },
        }
    }
}
