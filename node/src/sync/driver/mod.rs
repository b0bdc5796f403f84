//! The thin loop around the scheduler: sockets, threads and time.

mod announce;
mod archives;
mod commit;
mod mend;
mod pool;
mod progress;
mod values;
mod view;
mod work;

use std::{collections::BTreeMap, ops::Range, sync::Arc, time::Instant};

use lapis_p2p::{Event, Events, Handle, Offence};
use lapis_protocol_spec::{Height, Kzg};
use lapis_storage::{Store, StoreError, Watermarks};
use tokio::{
    sync::{mpsc, watch},
    task::{JoinError, JoinSet},
    time::MissedTickBehavior,
};
use tokio_util::sync::CancellationToken;

pub use self::progress::{SyncView, WatchdogConfig};
use self::{
    announce::{Judged, Kept},
    archives::Archives,
    commit::{Committed, FetchedValues},
    mend::MendOutcome,
    pool::Pool,
    progress::Progress,
};
use super::{
    archive::Archive,
    fetch::{Arrival, Fetched, Outlets},
    pipeline::{Pipeline, PipelineConfig, PipelineEvent, StageFailure},
    pool::BlobPool,
    scheduler::{Input, Mend, PeerCapacity, RequestId, Scheduler, SchedulerConfig, SourceId, Stats},
    trace::{Begin, RecordedScheduler, TraceSink},
};
use crate::{
    chain::Chain,
    feed::WatermarkFeed,
    metrics::Metrics,
    repair::{RepairRequests, Repaired},
};

/// News of arrivals that wait for the loop. More would say the same later.
const MAX_ARRIVALS: usize = 1024;

/// How the sync engine runs.
#[derive(Clone, Copy, Debug, Default)]
pub struct SyncConfig {
    /// Bounds of the scheduler.
    pub scheduler: SchedulerConfig,
    /// Verification and writing.
    pub pipeline: PipelineConfig,
    /// What is done when nothing moves.
    pub watchdog: WatchdogConfig,
}

/// What the sync engine works with.
#[derive(Debug)]
pub struct SyncParts {
    /// The chain.
    pub chain: Chain,
    /// Where verified data goes.
    pub store: Store,
    /// The network.
    pub network: Handle,
    /// News from the network.
    pub events: Events,
    /// The trusted setup.
    pub kzg: Arc<Kzg>,
    /// Archives that are asked for what no peer has.
    pub archives: Vec<Arc<dyn Archive>>,
    /// The execution client's pool, if it is to be asked for blobs.
    pub pool: Option<Arc<dyn BlobPool>>,
    /// Watermarks of the store.
    pub feed: WatermarkFeed,
    /// Where damaged rows are reported.
    pub repairs: RepairRequests,
    /// What of the store is to be fetched again, since it was damaged.
    pub repaired: Repaired,
    /// Counters.
    pub metrics: Metrics,
    /// Where what the scheduler is told and decides is recorded, if it is.
    pub trace: Option<Box<dyn TraceSink>>,
    /// Where to tell how it goes.
    pub view: watch::Sender<SyncView>,
    /// Where to tell what each peer delivers.
    pub capacities: watch::Sender<Vec<PeerCapacity>>,
}

/// Why the sync engine had to stop. Always our own fault: peers cannot stop it.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// The store failed for good.
    #[error("the store failed: {0}")]
    Store(#[from] StoreError),
    /// A task panicked.
    #[error("a sync task failed: {0}")]
    Task(#[from] JoinError),
    /// A stage of the pipeline failed.
    #[error("{0}")]
    Pipeline(#[from] StageFailure),
    /// The network stopped before the sync engine was told to.
    #[error("the network has stopped")]
    NetworkStopped,
}

/// The running sync engine. It owns the scheduler; nobody else sees it.
pub struct SyncEngine {
    parts: SyncParts,
    archives: Archives,
    pool: Pool,
    scheduler: RecordedScheduler,
    pipeline: Pipeline,
    fetches: JoinSet<Fetched>,
    /// Ways to end them.
    cancels: BTreeMap<RequestId, CancellationToken>,
    /// What they bring, told item by item.
    arrivals: mpsc::Receiver<Arrival>,
    outlets: Outlets,
    commits: JoinSet<Result<Committed, StoreError>>,
    judgements: JoinSet<Result<Judged, StoreError>>,
    /// Announcements whose signers are not known yet.
    kept: Kept,
    /// What is being held against the store to mend it. As many as the scheduler mends at a time.
    mends: JoinSet<(Mend, Result<MendOutcome, StoreError>)>,
    /// Batches that wait for their turn, by first height. As many as the scheduler has ranges.
    fetched: BTreeMap<Height, FetchedValues>,
    /// Heights of the batch that is being committed, while there is one.
    committing: Option<Range<Height>>,
    /// A damaged row is in the way of telling what is missing; it is looked at again then, or when it is mended.
    unreadable_until: Option<Instant>,
    progress: Progress,
    /// When people were last told what each peer delivers.
    capacities_told: Option<Instant>,
    /// What the metrics were told.
    counted: Stats,
}

impl SyncEngine {
    /// Prepares the engine; starts its verification threads. Must be called within a Tokio runtime.
    pub fn new(config: SyncConfig, mut parts: SyncParts) -> Self {
        let watermarks = parts.store.watermarks();
        // Damage found below `available` leaves gaps that the watermark hides.
        let first_gap = parts.store.gaps().first().unwrap_or(u64::MAX);
        let floor = watermarks.available.min(first_gap.saturating_sub(1));
        let begin = Begin {
            config: config.scheduler,
            decided: watermarks.decided,
            available: floor,
            imported: watermarks.imported,
        };
        let scheduler = RecordedScheduler::new(begin, rand::random(), Instant::now(), parts.trace.take());
        let metrics = Arc::clone(&parts.metrics.pipeline);
        let pipeline = Pipeline::start(config.pipeline, Arc::clone(&parts.kzg), parts.store.clone(), metrics);
        let (sender, arrivals) = mpsc::channel(MAX_ARRIVALS);
        let outlets = Outlets { entrance: pipeline.entrance.clone(), arrivals: sender };
        Self {
            archives: Archives::new(std::mem::take(&mut parts.archives)),
            pool: Pool::new(parts.pool.take()),
            scheduler,
            pipeline,
            fetches: JoinSet::new(),
            cancels: BTreeMap::new(),
            arrivals,
            outlets,
            commits: JoinSet::new(),
            judgements: JoinSet::new(),
            kept: Kept::default(),
            mends: JoinSet::new(),
            fetched: BTreeMap::new(),
            committing: None,
            unreadable_until: None,
            progress: Progress::new(config.watchdog, watermarks, Instant::now()),
            capacities_told: None,
            counted: Stats::default(),
            parts,
        }
    }

    /// Runs until `shutdown`; then what is already received is still verified and stored.
    ///
    /// # Errors
    /// [`SyncError`] if the node cannot go on.
    pub async fn run(mut self, shutdown: CancellationToken) -> Result<(), SyncError> {
        let mut watermarks = self.parts.feed.subscribe();
        self.want_next_signers().await?;
        let mut tick = tokio::time::interval(Scheduler::TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                event = self.parts.events.next() => match event {
                    Some(event) => self.on_network(event).await,
                    None if shutdown.is_cancelled() => break,
                    None => return Err(SyncError::NetworkStopped),
                },
                Some(event) = self.pipeline.events.recv() => self.on_pipeline(event).await?,
                Some(arrival) = self.arrivals.recv() => self.on_arrival(arrival),
                Some(fetched) = self.fetches.join_next() => self.on_fetched(fetched?).await?,
                Some(committed) = self.commits.join_next() => self.on_commit_ended(committed?).await?,
                Some(judged) = self.judgements.join_next() => self.on_judged(judged??).await,
                (archive, held) = self.archives.changed() => self.inform(match held {
                    Some(held) => Input::ArchiveCovers { archive, held },
                    None => Input::ArchiveGone { archive },
                }),
                is_open = self.pool.changed() => self.inform(Input::PoolAnnounced(is_open)),
                Some(mended) = self.mends.join_next() => self.on_mended(mended?).await?,
                Some(lost) = self.parts.repaired.recv() => self.on_lost(lost),
                Ok(()) = watermarks.changed() => self.on_watermarks(*watermarks.borrow_and_update()),
                ended = self.pipeline.stages.ended() => {
                    ended?;
                    return Err(StageFailure::Stopped.into());
                }
                _ = tick.tick() => {}
            }
            self.take_what_is_ready().await?;
            self.advance().await?;
        }
        self.stop().await
    }

    fn on_watermarks(&mut self, now: Watermarks) {
        self.inform(Input::Decided(now.decided));
        self.inform(Input::Imported(now.imported));
    }

    /// Tells the scheduler.
    fn inform(&mut self, input: Input) {
        let _ = self.scheduler.take(input, Instant::now());
    }

    fn on_arrival(&mut self, Arrival { id, item, bytes }: Arrival) {
        self.inform(Input::Received { id, item, bytes });
    }

    /// A disk that is full or fails for a moment stops the intake for a moment; the node goes on with what it can read.
    /// What a damaged row is in the way of waits until it is mended.
    fn unless_it_passes<T>(&mut self, result: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
        match result {
            Err(StoreError::Damaged(damage)) => {
                self.parts.repairs.report(damage);
                self.inform(Input::Hold);
                Ok(None)
            }
            Err(error) if error.may_pass() => {
                tracing::warn!(%error, "the store cannot take data now");
                self.inform(Input::Hold);
                Ok(None)
            }
            result => result.map(Some),
        }
    }

    /// One look at what to do next is enough for all that has happened meanwhile.
    async fn take_what_is_ready(&mut self) -> Result<(), SyncError> {
        while let Ok(event) = self.pipeline.events.try_recv() {
            self.on_pipeline(event).await?;
        }
        while let Ok(arrival) = self.arrivals.try_recv() {
            self.on_arrival(arrival);
        }
        while let Some(fetched) = self.fetches.try_join_next() {
            self.on_fetched(fetched?).await?;
        }
        Ok(())
    }

    /// Drops the exchanges, lets the pipeline finish what it has.
    async fn stop(mut self) -> Result<(), SyncError> {
        self.fetches.shutdown().await;
        self.judgements.shutdown().await;
        while self.mends.join_next().await.is_some() {}
        while let Some(committed) = self.commits.join_next().await {
            // What does not pass now is met again after the next start.
            self.unless_it_passes(committed?)?;
        }
        let feed = self.parts.feed.clone();
        drop(self.outlets);
        self.pipeline.drain().await?;
        feed.refresh();
        Ok(())
    }

    async fn on_network(&mut self, event: Event) {
        match event {
            Event::PeerReady { peer, status } | Event::PeerStatus { peer, status } => {
                self.inform(Input::PeerStatus { peer, status });
            }
            Event::PeerGone { peer, .. } => self.inform(Input::PeerGone { peer }),
            Event::Announcement { message, source, decided } => self.on_announcement(message, source, decided).await,
        }
    }

    async fn on_pipeline(&mut self, event: PipelineEvent) -> Result<(), SyncError> {
        match event {
            PipelineEvent::Stored { items } => {
                self.inform(Input::Stored(items));
                self.progress.moved(Instant::now());
                self.parts.feed.refresh();
            }
            PipelineEvent::NotStored { items, error } if error.is_fatal() && !error.may_pass() => {
                tracing::error!(items = items.len(), %error, "verified data could not be stored");
                return Err(error.into());
            }
            PipelineEvent::NotStored { items, error } => {
                tracing::warn!(items = items.len(), %error, "verified data could not be stored, it will be fetched again");
                self.inform(Input::NotStored(items));
            }
            PipelineEvent::NotChecked { items } => {
                tracing::error!(items = items.len(), "received data could not be checked, it will be fetched again");
                self.inform(Input::NotStored(items));
            }
            PipelineEvent::Faulty { source, item, fault } => {
                tracing::warn!(%source, ?item, %fault, "data that does not verify");
                self.blame(source, Offence::InvalidData).await;
                self.inform(Input::Faulty { source, item });
            }
        }
        Ok(())
    }

    /// A peer is reported; an archive is nobody's reputation and only counted. What the pool does is this machine's
    /// business, and the scheduler counts it.
    ///
    /// The network's loop never waits for anything, so this returns soon; if it has stopped, so will this engine.
    async fn blame(&self, source: SourceId, offence: Offence) {
        match source {
            SourceId::Peer(peer) => {
                self.parts.metrics.sync.offence(offence);
                let _ = self.parts.network.report(peer, offence).await;
            }
            SourceId::Archive(_) => self.parts.metrics.sync.archive_fault(offence),
            SourceId::Pool => {}
        }
    }

    /// Starts whatever can be started now.
    async fn advance(&mut self) -> Result<(), SyncError> {
        self.judge_kept_if_decided().await;
        self.start_commit();
        self.inform(Input::HeldValues(self.held_values()));
        self.load().await?;
        let decided = self.scheduler.poll(Instant::now());
        for id in decided.cancel {
            if let Some(cancel) = self.cancels.get(&id) {
                cancel.cancel();
            }
        }
        for action in decided.ask {
            self.start(action);
        }
        self.tell();
        self.rotate().await;
        Ok(())
    }

    /// Asks for other peers when nothing moves with those that there are.
    async fn rotate(&mut self) {
        if self.progress.wants_rotation(Instant::now()) {
            tracing::info!("no progress: looking for other peers");
            self.parts.metrics.sync.rotated();
            // If the network has stopped, so will this engine.
            let _ = self.parts.network.rotate().await;
        }
    }
}
