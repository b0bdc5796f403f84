//! The thin loop around the scheduler: sockets, threads and time.

mod announce;
mod commit;
mod progress;

use std::{collections::BTreeMap, ops::Range, sync::Arc, time::Instant};

use lapis_p2p::{Event, Events, Handle, Offence};
use lapis_protocol_spec::{Height, Kzg};
use lapis_storage::{Store, StoreError};
use libp2p::PeerId;
use rand::{SeedableRng, rngs::StdRng};
use tokio::{
    sync::watch,
    task::{JoinError, JoinSet},
    time::MissedTickBehavior,
};
use tokio_util::sync::CancellationToken;

pub use self::progress::SyncView;
use self::{
    announce::Judged,
    commit::{Committed, FetchedValues, Obstacle, commit},
    progress::Progress,
};
use super::{
    fetch::{FetchTask, Fetched},
    pipeline::{Pipeline, PipelineConfig, PipelineEvent, StageFailure},
    scheduler::{Action, Missing, Scheduler, SchedulerConfig},
};
use crate::{chain::Chain, feed::WatermarkFeed, metrics::Metrics, repair::Repaired};

/// How the sync engine runs.
#[derive(Clone, Copy, Debug, Default)]
pub struct SyncConfig {
    /// Bounds of the scheduler.
    pub scheduler: SchedulerConfig,
    /// Verification and writing.
    pub pipeline: PipelineConfig,
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
    /// Watermarks of the store.
    pub feed: WatermarkFeed,
    /// Heights of which damaged rows were dropped.
    pub repaired: Repaired,
    /// Counters.
    pub metrics: Metrics,
    /// Where to tell how it goes.
    pub view: watch::Sender<SyncView>,
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
    scheduler: Scheduler,
    rng: StdRng,
    pipeline: Pipeline,
    fetches: JoinSet<Fetched>,
    commits: JoinSet<Result<Committed, StoreError>>,
    judgements: JoinSet<Result<Judged, StoreError>>,
    /// Batches that wait for their turn, by first height. As many as the scheduler has ranges.
    fetched: BTreeMap<Height, FetchedValues>,
    /// Heights of the batch that is being committed, while there is one.
    committing: Option<Range<Height>>,
    progress: Progress,
}

impl SyncEngine {
    /// Prepares the engine; starts its verification threads. Must be called within a Tokio runtime.
    pub fn new(config: SyncConfig, parts: SyncParts) -> Self {
        let watermarks = parts.store.watermarks();
        // Damage found below `available` leaves gaps that the watermark hides.
        let first_gap = parts.store.gaps().first().unwrap_or(u64::MAX);
        let floor = watermarks.available.min(first_gap.saturating_sub(1));
        let scheduler = Scheduler::new(config.scheduler, watermarks.decided, floor, watermarks.imported);
        let metrics = Arc::clone(&parts.metrics.pipeline);
        let pipeline = Pipeline::start(config.pipeline, Arc::clone(&parts.kzg), parts.store.clone(), metrics);
        Self {
            scheduler,
            rng: StdRng::from_os_rng(),
            pipeline,
            fetches: JoinSet::new(),
            commits: JoinSet::new(),
            judgements: JoinSet::new(),
            fetched: BTreeMap::new(),
            committing: None,
            progress: Progress::new(watermarks, Instant::now()),
            parts,
        }
    }

    /// Runs until `shutdown`; then what is already received is still verified and stored.
    ///
    /// # Errors
    /// [`SyncError`] if the node cannot go on.
    pub async fn run(mut self, shutdown: CancellationToken) -> Result<(), SyncError> {
        let mut watermarks = self.parts.feed.subscribe();
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
                Some(fetched) = self.fetches.join_next() => self.on_fetched(fetched?).await?,
                Some(committed) = self.commits.join_next() => {
                    if let Some(committed) = self.unless_it_passes(committed?)? {
                        self.on_committed(committed).await;
                    }
                }
                Some(judged) = self.judgements.join_next() => self.on_judged(judged??).await,
                Some(height) = self.parts.repaired.recv() => self.scheduler.reload_from(height),
                Ok(()) = watermarks.changed() => {
                    let now = *watermarks.borrow_and_update();
                    self.scheduler.set_decided(now.decided);
                    self.scheduler.set_imported(now.imported);
                }
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

    /// A disk that is full or fails for a moment stops the intake for a moment; the node goes on with what it can read.
    fn unless_it_passes<T>(&mut self, result: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
        match result {
            Err(error) if error.may_pass() => {
                tracing::warn!(%error, "the store cannot take data now");
                self.scheduler.hold(Instant::now());
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
        while let Some(fetched) = self.fetches.try_join_next() {
            self.on_fetched(fetched?).await?;
        }
        Ok(())
    }

    /// Drops the exchanges, lets the pipeline finish what it has.
    async fn stop(mut self) -> Result<(), SyncError> {
        self.fetches.shutdown().await;
        self.judgements.shutdown().await;
        while let Some(committed) = self.commits.join_next().await {
            committed??;
        }
        let feed = self.parts.feed.clone();
        self.pipeline.drain().await?;
        feed.refresh();
        Ok(())
    }

    async fn on_network(&mut self, event: Event) {
        match event {
            Event::PeerReady { peer, status } | Event::PeerStatus { peer, status } => {
                self.scheduler.peer_status(peer, status);
            }
            Event::PeerGone { peer, .. } => self.scheduler.peer_gone(&peer),
            Event::Announcement { message, source, decided } => self.on_announcement(message, source, decided).await,
        }
    }

    async fn on_pipeline(&mut self, event: PipelineEvent) -> Result<(), SyncError> {
        let now = Instant::now();
        match event {
            PipelineEvent::Stored { items } => {
                items.into_iter().for_each(|item| self.scheduler.stored(item));
                self.progress.moved(now);
                self.parts.feed.refresh();
            }
            PipelineEvent::NotStored { items, error } if error.is_fatal() && !error.may_pass() => {
                tracing::error!(items = items.len(), %error, "verified data could not be stored");
                return Err(error.into());
            }
            PipelineEvent::NotStored { items, error } => {
                tracing::warn!(items = items.len(), %error, "verified data could not be stored, it will be fetched again");
                items.into_iter().for_each(|item| self.scheduler.not_stored(item, now));
            }
            PipelineEvent::NotChecked { items } => {
                tracing::error!(items = items.len(), "received data could not be checked, it will be fetched again");
                items.into_iter().for_each(|item| self.scheduler.not_stored(item, now));
            }
            PipelineEvent::Faulty { peer, item, fault } => {
                tracing::warn!(%peer, ?item, %fault, "a peer sent data that does not verify");
                self.report(peer, Offence::InvalidData).await;
                self.scheduler.faulty(&peer, item, now);
            }
        }
        Ok(())
    }

    /// The network's loop never waits for anything, so this returns soon; if it has stopped, so will this engine.
    async fn report(&self, peer: PeerId, offence: Offence) {
        self.parts.metrics.sync.offence(offence);
        let _ = self.parts.network.report(peer, offence).await;
    }

    async fn on_fetched(&mut self, fetched: Fetched) -> Result<(), SyncError> {
        let Fetched { id, peer, report, values, validator_set, offence } = fetched;
        if let Some((offence, reason)) = offence {
            tracing::info!(%peer, ?offence, %reason, "an exchange went wrong");
            self.report(peer, offence).await;
        }
        if let Some(set) = validator_set {
            let store = self.parts.store.clone();
            let stored = tokio::task::spawn_blocking(move || store.insert_validator_set(&set)).await?;
            if self.unless_it_passes(stored)?.is_some() {
                self.scheduler.have_validator_set();
            }
        }
        if let Some(heights) = self.scheduler.finished(id, &report, Instant::now())
            && !values.is_empty()
        {
            self.fetched.insert(heights.start, FetchedValues { peer, values });
        }
        Ok(())
    }

    async fn on_committed(&mut self, committed: Committed) {
        let Committed { peer, blobs, decided: stored, obstacle, rest } = committed;
        self.parts.metrics.store.decided(&blobs, &stored);
        self.parts.feed.refresh();
        let decided = self.parts.feed.current().decided;
        self.scheduler.set_decided(decided);
        if !blobs.is_empty() {
            self.progress.moved(Instant::now());
        }
        match obstacle {
            Some(Obstacle::UnknownSet(root)) => {
                self.scheduler.want_validator_set(root);
                self.fetched.insert(decided.saturating_add(1), FetchedValues { peer, values: rest });
            }
            Some(Obstacle::Fault { height, fault }) => {
                tracing::warn!(%peer, height, %fault, "a peer sent a value that is not certified");
                self.report(peer, Offence::InvalidData).await;
                self.scheduler.faulty_value(&peer, height, Instant::now());
            }
            None => {}
        }
    }

    /// Starts whatever can be started now.
    async fn advance(&mut self) -> Result<(), SyncError> {
        self.start_commit();
        self.scheduler.set_held_values(self.held_values());
        self.load().await?;
        for action in self.scheduler.poll(Instant::now(), &mut self.rng) {
            self.start(action);
        }
        self.tell();
        Ok(())
    }

    fn start(&mut self, action: Action) {
        let task = FetchTask::new(self.parts.network.clone(), self.pipeline.entrance.clone(), &action);
        self.fetches.spawn(task.run(action.fetch));
    }

    /// Commits the batch that attaches to the tip, one at a time.
    fn start_commit(&mut self) {
        if !self.commits.is_empty() || self.scheduler.waits_for_validator_set() {
            return;
        }
        let decided = self.parts.feed.current().decided;
        let Some(entry) = self.fetched.first_entry().filter(|entry| *entry.key() <= decided.saturating_add(1)) else {
            return;
        };
        let fetched = entry.remove();
        self.committing = fetched.heights();
        let (store, chain) = (self.parts.store.clone(), self.parts.chain.clone());
        self.commits.spawn_blocking(move || commit(&store, &chain, fetched));
    }

    /// Ranges of values that are here and not in the store.
    fn held_values(&self) -> Vec<Range<Height>> {
        let committing = self.committing.clone().filter(|_| !self.commits.is_empty());
        committing.into_iter().chain(self.fetched.values().filter_map(FetchedValues::heights)).collect()
    }

    /// Tops up the scheduler's window of incomplete heights from the store.
    async fn load(&mut self) -> Result<(), SyncError> {
        // Not from the watermarks: they hide a floor that is above what is available, and do not move with it.
        self.scheduler.waive_blobs_below(self.parts.store.blob_floor());
        let Some(heights) = self.scheduler.wants_load() else { return Ok(()) };
        let store = self.parts.store.clone();
        let range = heights.clone();
        let most = self.scheduler.load_room();
        let missing = match tokio::task::spawn_blocking(move || store.missing(range, most)).await? {
            Ok(missing) => missing,
            // Nothing that a peer can mend. What is held is still served.
            Err(StoreError::Damaged(damage)) => {
                tracing::error!(%damage, "cannot tell what is missing");
                self.scheduler.hold(Instant::now());
                return Ok(());
            }
            result => match self.unless_it_passes(result)? {
                Some(missing) => missing,
                None => return Ok(()),
            },
        };
        let last = missing.last().filter(|_| missing.len() >= most).map(|gap| gap.height);
        let missing = missing
            .into_iter()
            .map(|gap| Missing { value: gap.value, payload: gap.payload, blobs: gap.blobs })
            .collect();
        self.scheduler.load(missing, last.unwrap_or(heights.end.saturating_sub(1)));
        Ok(())
    }

    fn tell(&mut self) {
        let target = self.scheduler.target();
        let blocked = self.scheduler.blocked();
        let watermarks = self.parts.feed.current();
        let stall = self.progress.stall(watermarks, target, blocked, Instant::now());
        let view = SyncView {
            target,
            peers: self.scheduler.peers(),
            buffered_bytes: self.scheduler.buffered_bytes(),
            in_flight: self.scheduler.in_flight(),
            verifying: self.pipeline.entrance.is_verifying(),
            stall,
        };
        self.parts.metrics.sync.view(&view);
        self.parts.view.send_if_modified(|old| {
            let changed = *old != view;
            let kind = |view: &SyncView| view.stall.as_ref().map(std::mem::discriminant);
            if kind(old) != kind(&view) {
                match &view.stall {
                    Some(reason) => tracing::warn!(?reason, available = watermarks.available, target, "no progress"),
                    None => tracing::info!(available = watermarks.available, target, "progress again"),
                }
            }
            *old = view;
            changed
        });
    }
}
