//! Verification workers: threads that take from one queue, in batches.

use std::{
    sync::{Arc, Mutex, PoisonError, mpsc::SyncSender},
    time::Instant,
};

use lapis_protocol_spec::{BlobSidecar, Kzg, Matched, PayloadEnvelope};
use tokio::sync::mpsc;

use super::{
    InVerification, Inside, ItemFault, PipelineConfig, PipelineEvent, Proven, ProvenData, Received, ReceivedData,
};
use crate::{
    metrics::PipelineMetrics,
    sync::scheduler::{Item, SourceId},
};

type Sender = (SourceId, Item);

/// What all workers share.
pub(super) struct Workers {
    pub(super) config: PipelineConfig,
    pub(super) kzg: Arc<Kzg>,
    pub(super) queue: Arc<Mutex<mpsc::Receiver<Received>>>,
    pub(super) pending: InVerification,
    pub(super) inside: Inside,
    pub(super) metrics: Arc<PipelineMetrics>,
}

/// One worker thread.
pub(super) struct Worker {
    shared: Arc<Workers>,
    proven: SyncSender<Vec<Proven>>,
    events: mpsc::Sender<PipelineEvent>,
}

impl Workers {
    /// One worker per thread.
    pub(super) fn split(
        self,
        proven: SyncSender<Vec<Proven>>,
        events: mpsc::Sender<PipelineEvent>,
    ) -> impl Iterator<Item = Worker> {
        let threads = self.config.threads.max(1);
        let shared = Arc::new(self);
        (0..threads).map(move |_| Worker {
            shared: Arc::clone(&shared),
            proven: proven.clone(),
            events: events.clone(),
        })
    }

    /// Waits for an item and takes a fair share of what else is queued, so that all threads have work. `None` when the
    /// queue is closed and empty.
    fn next_batch(&self) -> Option<Vec<Received>> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let mut batch = vec![queue.blocking_recv()?];
        let share = queue.len().div_ceil(self.config.threads.max(1));
        while batch.len() < share.min(self.config.max_batch) {
            match queue.try_recv() {
                Ok(received) => batch.push(received),
                Err(_) => break,
            }
        }
        Some(batch)
    }
}

impl Worker {
    /// Works until the queue is closed and empty, or nobody wants the results.
    pub(super) fn run(self) {
        while let Some(batch) = self.shared.next_batch() {
            let count = batch.len();
            let proven = self.verify(batch);
            // First, so that the writer does not wait for what it is about to get.
            self.shared.pending.leave(count);
            if proven.and_then(|proven| self.hand_on(proven)).is_none() {
                return;
            }
        }
    }

    /// What of a batch is true. `None` if nobody wants the results.
    fn verify(&self, batch: Vec<Received>) -> Option<Vec<Proven>> {
        let mut proven = Vec::with_capacity(batch.len());
        let mut blobs: Vec<(Sender, Matched<BlobSidecar>)> = Vec::with_capacity(batch.len());
        for Received { source, item, data } in batch {
            match data {
                ReceivedData::Blob(sidecar) => blobs.push(((source, item), sidecar)),
                ReceivedData::Payload(envelope) => self.verify_payload((source, item), envelope, &mut proven)?,
            }
        }
        if !blobs.is_empty() {
            self.verify_blobs(blobs, &mut proven)?;
        }
        Some(proven)
    }

    fn verify_payload(
        &self,
        (source, item): Sender,
        envelope: Matched<PayloadEnvelope>,
        proven: &mut Vec<Proven>,
    ) -> Option<()> {
        match envelope.verify() {
            Ok(verified) => proven.push(Proven { source, item, data: ProvenData::Payload(verified) }),
            Err(fault) => self.blame(source, item, fault.into())?,
        }
        Some(())
    }

    fn verify_blobs(&self, blobs: Vec<(Sender, Matched<BlobSidecar>)>, proven: &mut Vec<Proven>) -> Option<()> {
        let started = Instant::now();
        let outcome = self.shared.kzg.verify_batch(blobs);
        self.shared.metrics.verified_batch(outcome.verified.len(), outcome.faulty.len(), started.elapsed());
        for ((source, item), _) in outcome.faulty {
            self.blame(source, item, ItemFault::Proof)?;
        }
        if !outcome.unchecked.is_empty() {
            let items: Vec<Item> = outcome.unchecked.into_iter().map(|((_, item), _)| item).collect();
            self.shared.inside.leave(&items);
            self.events.blocking_send(PipelineEvent::NotChecked { items }).ok()?;
        }
        let verified = outcome.verified.into_iter();
        proven.extend(verified.map(|((source, item), data)| Proven { source, item, data: ProvenData::Blob(data) }));
        Some(())
    }

    fn hand_on(&self, proven: Vec<Proven>) -> Option<()> {
        if proven.is_empty() { Some(()) } else { self.proven.send(proven).ok() }
    }

    fn blame(&self, source: SourceId, item: Item, fault: ItemFault) -> Option<()> {
        self.shared.inside.leave(&[item]);
        self.events.blocking_send(PipelineEvent::Faulty { source, item, fault }).ok()
    }
}
