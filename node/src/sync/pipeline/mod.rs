//! From `Matched` to stored: verification workers and the writer.
//!
//! Queues are bounded in items; the bytes behind them are bounded by the scheduler, which reserves them before it asks
//! for them. Blobs of all heights and peers go through one queue, so that workers always verify full batches; each item
//! carries who sent it, so that a failed batch still names its culprit.

mod inside;
mod verify;
mod write;

use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc::sync_channel,
    },
};

use lapis_protocol_spec::{BlobSidecar, Kzg, Matched, PayloadEnvelope, PayloadFault, Verified};
use lapis_storage::{Store, StoreError};
use tokio::{
    sync::{mpsc, oneshot},
    task::{JoinError, JoinSet},
};

use self::inside::Inside;
use super::scheduler::{Item, SourceId};
use crate::metrics::PipelineMetrics;

/// Items, or batches of them, that wait between two stages. More would only delay back-pressure: bytes, and with them the
/// items of all batches, are bounded elsewhere.
const QUEUE_ITEMS: usize = 1024;

const VERIFY_THREAD: &str = "lapis-verify";
const WRITE_THREAD: &str = "lapis-write";

/// How the pipeline is run.
#[derive(Clone, Copy, Debug)]
pub struct PipelineConfig {
    /// Verification threads.
    pub threads: usize,
    /// Most blobs in one KZG batch: beyond 64 a batch gains nothing.
    pub max_batch: usize,
    /// Bytes of one store transaction.
    pub max_transaction_bytes: usize,
}

impl Default for PipelineConfig {
    fn default() -> Self {
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self { threads, max_batch: 64, max_transaction_bytes: 8 * 1024 * 1024 }
    }
}

/// Something that arrived and is what was asked for.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) source: SourceId,
    pub(super) item: Item,
    pub(super) data: ReceivedData,
}

/// The data of a [`Received`].
#[derive(Debug)]
pub(super) enum ReceivedData {
    Blob(Matched<BlobSidecar>),
    Payload(Matched<PayloadEnvelope>),
}

/// Something that is true.
#[derive(Debug)]
struct Proven {
    source: SourceId,
    item: Item,
    data: ProvenData,
}

#[derive(Debug)]
enum ProvenData {
    Blob(Verified<BlobSidecar>),
    Payload(Verified<PayloadEnvelope>),
}

/// What is wrong with an item that matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ItemFault {
    #[error("the KZG proof does not verify")]
    Proof,
    #[error("{0}")]
    Payload(#[from] PayloadFault),
}

/// News for the driver.
#[derive(Debug)]
pub(super) enum PipelineEvent {
    /// These items are durable.
    Stored { items: Vec<Item> },
    /// These were true but could not be stored: our fault.
    NotStored { items: Vec<Item>, error: StoreError },
    /// These could not be checked, for want of memory: our fault.
    NotChecked { items: Vec<Item> },
    /// This was not true.
    Faulty { source: SourceId, item: Item, fault: ItemFault },
}

/// Items between entering verification and leaving it, so that the writer knows whether waiting brings more.
#[derive(Clone, Debug, Default)]
struct InVerification(Arc<AtomicUsize>);

impl InVerification {
    fn enter(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn leave(&self, count: usize) {
        self.0.fetch_sub(count, Ordering::Relaxed);
    }

    fn is_empty(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }
}

/// Entrance of the pipeline, one per exchange.
#[derive(Clone, Debug)]
pub(super) struct Entrance {
    queue: mpsc::Sender<Received>,
    pending: InVerification,
    inside: Inside,
}

/// What became of an item at the entrance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entered {
    /// It is in.
    First,
    /// Somebody else has brought it, and it is inside still: this one was dropped.
    Twice,
}

/// The pipeline has stopped (the node is shutting down, or a stage failed).
#[derive(Clone, Copy, Debug)]
pub(super) struct PipelineClosed;

impl Entrance {
    /// Whether anything is between here and the writer.
    pub(super) fn is_verifying(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Hands an item over, unless it is inside; waits while the queue is full. Cancel-safe: a cancelled call hands
    /// nothing over.
    pub(super) async fn send(&self, received: Received) -> Result<Entered, PipelineClosed> {
        let permit = self.queue.reserve().await.map_err(|_| PipelineClosed)?;
        if !self.inside.enter(received.item) {
            return Ok(Entered::Twice);
        }
        self.pending.enter();
        permit.send(received);
        Ok(Entered::First)
    }
}

/// The running stages.
#[derive(Debug)]
pub(super) struct Pipeline {
    pub(super) entrance: Entrance,
    pub(super) events: mpsc::Receiver<PipelineEvent>,
    pub(super) stages: Stages,
}

/// Why a stage ended too soon. Our own fault.
#[derive(Debug, thiserror::Error)]
pub enum StageFailure {
    /// The system has no thread for a stage.
    #[error("no thread for a stage of the pipeline: {0}")]
    NoThread(#[source] io::Error),
    /// A worker or the writer panicked.
    #[error("the thread {0} of the pipeline panicked")]
    Panicked(&'static str),
    /// Waiting for a stage failed.
    #[error("a stage of the pipeline was not waited for: {0}")]
    Wait(#[from] JoinError),
    /// A stage ended although the others still need it.
    #[error("a stage of the pipeline has stopped")]
    Stopped,
}

/// Workers and writer, as tasks that wait for their threads.
#[derive(Debug)]
pub(super) struct Stages(JoinSet<Result<(), StageFailure>>);

impl Stages {
    /// Runs a stage on a thread of its own: the runtime's blocking threads are for short calls and bounded in number.
    fn start(&mut self, name: &'static str, stage: impl FnOnce() + Send + 'static) {
        let (done, ended) = oneshot::channel();
        let run = move || {
            stage();
            let _ = done.send(());
        };
        let started = std::thread::Builder::new().name(name.to_owned()).spawn(run);
        self.0.spawn(async move {
            started.map_err(StageFailure::NoThread)?;
            ended.await.map_err(|_| StageFailure::Panicked(name))
        });
    }

    /// Completes when a stage has ended. Cancel-safe.
    pub(super) async fn ended(&mut self) -> Result<(), StageFailure> {
        match self.0.join_next().await {
            Some(ended) => ended?,
            None => std::future::pending().await,
        }
    }
}

impl Pipeline {
    /// Starts workers and writer. They end when all [`Entrance`]s are dropped.
    pub(super) fn start(config: PipelineConfig, kzg: Arc<Kzg>, store: Store, metrics: Arc<PipelineMetrics>) -> Self {
        let (queue, received) = mpsc::channel(QUEUE_ITEMS);
        let (proven, to_write) = sync_channel(QUEUE_ITEMS);
        let (events_in, events) = mpsc::channel(QUEUE_ITEMS);
        let (pending, inside) = (InVerification::default(), Inside::default());
        let mut stages = Stages(JoinSet::new());
        let workers = verify::Workers {
            config,
            kzg,
            queue: Arc::new(Mutex::new(received)),
            pending: pending.clone(),
            inside: inside.clone(),
            metrics: Arc::clone(&metrics),
        };
        for worker in workers.split(proven, events_in.clone()) {
            stages.start(VERIFY_THREAD, || worker.run());
        }
        let writer = write::Writer {
            config,
            store,
            pending: pending.clone(),
            inside: inside.clone(),
            events: events_in,
            metrics,
        };
        stages.start(WRITE_THREAD, || writer.run(to_write));
        Self { entrance: Entrance { queue, pending, inside }, events, stages }
    }

    /// Ends the pipeline: nothing more comes in, what is inside is verified and stored.
    pub(super) async fn drain(self) -> Result<(), StageFailure> {
        let Self { entrance, mut events, stages: Stages(mut stages) } = self;
        drop(entrance);
        while events.recv().await.is_some() {}
        while let Some(ended) = stages.join_next().await {
            ended??;
        }
        Ok(())
    }
}
