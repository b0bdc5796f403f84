//! The task that puts together what `/status` and `/peers` show.

use std::{
    convert::Infallible,
    ops::Range,
    time::{Duration, Instant},
};

use lapis_p2p::Handle;
use lapis_protocol_spec::{Height, Status};
use lapis_storage::{Store, Watermarks};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{
    Inner,
    archives::ArchiverView,
    catch_up::{CatchUpLog, Line, Position},
    peer_view,
};
use crate::{
    chain::Chain,
    execution::Trouble,
    feed::WatermarkFeed,
    import::ImportState,
    metrics::Metrics,
    status::{ArchivesStatus, EngineStatus, NodeStatus, PeerView, Stall, StallReason},
    sync::{
        SyncView,
        scheduler::{Blocked, Mend, PeerCapacity},
    },
};

/// How often the views are renewed, beside every movement of a watermark.
const INTERVAL: Duration = Duration::from_millis(500);
/// How far behind the head a node may be and still be ready.
const READY_WITHIN: u64 = 2;

/// What the views are made of.
pub(super) struct Reporter {
    pub(super) chain: Chain,
    pub(super) store: Store,
    pub(super) feed: WatermarkFeed,
    pub(super) network: Handle,
    pub(super) metrics: Metrics,
    pub(super) engine: &'static str,
    pub(super) views: Views,
    pub(super) status: watch::Sender<NodeStatus>,
    pub(super) peers: watch::Sender<Vec<PeerView>>,
    /// Bytes received and sent in exchanges with the peers that are known now.
    pub(super) traffic: (u64, u64),
    pub(super) catch_up: CatchUpLog,
}

/// What the stages tell of themselves.
pub(super) struct Views {
    pub(super) sync: watch::Receiver<SyncView>,
    pub(super) capacities: watch::Receiver<Vec<PeerCapacity>>,
    pub(super) import: watch::Receiver<ImportState>,
    /// `None` if this node does not archive.
    pub(super) archiver: Option<ArchiverView>,
}

impl Inner {
    /// What puts the views together.
    pub(super) fn reporter(
        &self,
        engine: &'static str,
        views: Views,
        status: watch::Sender<NodeStatus>,
        peers: watch::Sender<Vec<PeerView>>,
    ) -> Reporter {
        Reporter {
            chain: self.options.chain.clone(),
            store: self.store.clone(),
            feed: self.feed.clone(),
            network: self.network.clone(),
            metrics: self.metrics.clone(),
            engine,
            views,
            status,
            peers,
            traffic: (0, 0),
            catch_up: CatchUpLog::default(),
        }
    }
}

/// Verified blobs at a moment, for a rate.
struct Rate {
    at: Instant,
    blobs: u64,
    per_second: u64,
}

impl Rate {
    fn update(&mut self, blobs: u64, now: Instant) -> u64 {
        let elapsed = now.saturating_duration_since(self.at);
        if elapsed >= Duration::from_secs(1) {
            let millis = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX).max(1);
            self.per_second = blobs.saturating_sub(self.blobs).saturating_mul(1000) / millis;
            (self.at, self.blobs) = (now, blobs);
        }
        self.per_second
    }
}

impl Reporter {
    pub(super) async fn run(mut self, shutdown: CancellationToken) -> Result<(), Infallible> {
        let started = Instant::now();
        let mut watermarks = self.feed.subscribe();
        let mut interval = tokio::time::interval(INTERVAL);
        let mut rate = Rate { at: started, blobs: 0, per_second: 0 };
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                Ok(()) = watermarks.changed() => {}
                _ = interval.tick() => self.renew_slowly().await,
            }
            let marks = *watermarks.borrow_and_update();
            self.metrics.store.watermarks(&marks);
            self.announce_status(marks);
            let per_second = rate.update(self.metrics.pipeline.verified_blobs(), Instant::now());
            self.renew_status(marks, per_second, started.elapsed());
        }
    }

    /// What takes a look at the store or at every peer.
    async fn renew_slowly(&mut self) {
        if let Ok(stats) = self.store.stats() {
            self.metrics.store.stats(&stats);
        }
        let Ok(peers) = self.network.peers().await else { return };
        self.traffic = peers.iter().fold((0, 0), |(received, sent), peer| {
            (received.saturating_add(peer.bytes_in), sent.saturating_add(peer.bytes_out))
        });
        self.peers.send_replace(peer_view::views(&peers, &self.views.capacities.borrow()));
    }

    /// Tells peers what this node has.
    fn announce_status(&self, marks: Watermarks) {
        let Ok(tip) = self.store.tip() else { return };
        self.network.set_status(Status {
            genesis_id: *self.chain.id(),
            decided_height: tip.height,
            decided_value_id: tip.value_id,
            available_height: marks.available,
            earliest_value_height: marks.earliest_value,
            earliest_payload_height: marks.earliest_payload,
            earliest_blob_height: marks.earliest_blob,
        });
    }

    fn renew_status(&mut self, marks: Watermarks, blobs_per_second: u64, uptime: Duration) {
        let sync = self.views.sync.borrow().clone();
        let import = self.views.import.borrow().clone();
        let is_tried = sync.is_stuck || !sync.stall.as_ref().is_some_and(Blocked::is_for_other_peers);
        let import_stall = import_stall(&import);
        let counts = import_stall.is_some() || is_tried;
        let stall = import_stall.or_else(|| sync.stall.as_ref().map(|blocked| sync_stall(blocked, &sync)));
        self.metrics.sync.stalled(stall.as_ref());
        let (bytes_in, bytes_out) = self.traffic;
        self.log_catch_up(marks, &sync);
        let behind = sync.target.saturating_sub(marks.imported);
        let tip = self.store.tip().ok().filter(|tip| tip.height == marks.decided);
        self.status.send_modify(|status| {
            status.addresses = self.network.listen_addresses();
            status.decided_height = marks.decided;
            status.decided_value_id = tip.map_or(status.decided_value_id, |tip| tip.value_id);
            status.available_height = marks.available;
            status.imported_height = marks.imported;
            status.pruned_height = marks.pruned;
            status.earliest_value_height = marks.earliest_value;
            status.earliest_payload_height = marks.earliest_payload;
            status.earliest_blob_height = marks.earliest_blob;
            status.target_height = sync.target;
            status.peers = sync.peers;
            status.buffered_bytes = sync.buffered_bytes;
            status.archiver = self.views.archiver.as_ref().map(ArchiverView::status);
            status.engine = engine_status(self.engine, &import);
            status.sync.blobs_per_second = blobs_per_second;
            status.sync.verified_blobs = self.metrics.pipeline.verified_blobs();
            status.sync.faulty_blobs = self.metrics.pipeline.faulty_blobs();
            status.sync.archives = ArchivesStatus {
                count: sync.archives,
                values: self.metrics.sync.values_from_archives(),
                items: self.metrics.pipeline.archived_items(),
                faults: self.metrics.sync.archive_faults(),
            };
            status.sync.pool = self.metrics.sync.pool(sync.is_pool_open);
            status.sync.bytes_in = bytes_in;
            status.sync.bytes_out = bytes_out;
            status.not_ready = not_ready(behind, &sync, stall.as_ref().filter(|_| counts));
            status.ready = status.not_ready.is_empty();
            status.stall = stall;
            status.uptime_seconds = uptime.as_secs();
        });
    }
}

impl Reporter {
    fn log_catch_up(&mut self, marks: Watermarks, sync: &SyncView) {
        let position = Position {
            imported: marks.imported,
            target: sync.target,
            verified_blobs: self.metrics.pipeline.verified_blobs(),
            stored_bytes: self.metrics.pipeline.stored_bytes(),
        };
        match self.catch_up.look(position, Instant::now()) {
            Some(Line::Behind { percent, left, blobs_per_second, bytes_per_second }) => tracing::info!(
                imported = marks.imported,
                available = marks.available,
                target = sync.target,
                percent,
                left = %left.map_or_else(|| "unknown".to_owned(), whole_seconds),
                blobs_per_second,
                mib_per_second = bytes_per_second / (1024 * 1024),
                peers = sync.peers,
                buffered_mib = sync.buffered_bytes / (1024 * 1024),
                "catching up"
            ),
            Some(Line::Done { heights, blobs, took }) => {
                tracing::info!(imported = marks.imported, heights, blobs, ?took, "caught up");
            }
            None => {}
        }
    }
}

fn whole_seconds(time: Duration) -> String {
    humantime::format_duration(Duration::from_secs(time.as_secs())).to_string()
}

/// A stall counts at once, unless other peers may end it: then these are tried first.
fn not_ready(behind: u64, sync: &SyncView, stall: Option<&Stall>) -> Vec<String> {
    let mut reasons = Vec::new();
    if behind > READY_WITHIN {
        reasons.push(format!("{behind} heights behind"));
    }
    if sync.peers == 0 {
        reasons.push("no peers".to_owned());
    }
    reasons.extend(stall.map(ToString::to_string));
    if sync.is_stuck {
        reasons.push(format!("no progress for {} s", sync.seconds_without_progress));
    }
    reasons
}

fn engine_status(name: &str, state: &ImportState) -> EngineStatus {
    EngineStatus {
        name: name.to_owned(),
        state: state.to_string(),
        kind: state.name().to_owned(),
        feeding: match state {
            ImportState::Feeding { next, last } => Some((*next, *last)),
            _ => None,
        },
        evidence: match state {
            ImportState::Halted { evidence, .. } => evidence.as_ref().map(|path| path.display().to_string()),
            _ => None,
        },
    }
}

fn import_stall(state: &ImportState) -> Option<Stall> {
    let reason = match state {
        ImportState::Connecting | ImportState::Idle | ImportState::Importing(_) => return None,
        ImportState::Unreadable(_) => StallReason::StoreDamaged,
        ImportState::Feeding { .. } => StallReason::ExecutionBehind,
        ImportState::Syncing(_) => StallReason::ExecutionSyncing,
        ImportState::Unavailable { trouble, .. } => match trouble {
            Trouble::Unauthorized => StallReason::ExecutionUnauthorized,
            Trouble::Refusing => StallReason::ExecutionRefuses,
            Trouble::Unreachable
            | Trouble::TimedOut
            | Trouble::Failing
            | Trouble::Incomprehensible
            | Trouble::OutOfOrder
            | Trouble::Stopping => StallReason::ExecutionUnavailable,
        },
        ImportState::LacksHistory { .. } => StallReason::ExecutionLacksHistory,
        ImportState::WrongChain { .. } => StallReason::ExecutionWrongChain,
        ImportState::Halted { .. } => StallReason::ImportHalted,
    };
    Some(Stall::new(reason, state.to_string()))
}

fn sync_stall(blocked: &Blocked, sync: &SyncView) -> Stall {
    let span = |heights: &Range<Height>| format!("{}..{}", heights.start, heights.end.saturating_sub(1));
    match blocked {
        Blocked::NoPeers => Stall::new(StallReason::NoPeers, "no peer of this chain is connected"),
        Blocked::NobodyHas(heights) => {
            let who = if sync.archives == 0 { "no peer has" } else { "no peer and no archive has" };
            Stall::new(StallReason::NoPeerHasData, format!("{who} {}", span(heights)))
        }
        Blocked::PeersBusy(heights) => {
            let detail = format!("peers that have {} do not deliver", span(heights));
            Stall::new(StallReason::RateLimitedByPeers, detail)
        }
        Blocked::ArchivesBusy(heights) => {
            let detail = format!("no peer has {}, and archives that have it do not deliver", span(heights));
            Stall::new(StallReason::ArchiveUnavailable, detail)
        }
        Blocked::BufferFull if sync.verifying => {
            Stall::new(StallReason::VerificationQueueFull, "received data waits for verification")
        }
        Blocked::BufferFull => Stall::new(StallReason::BufferFull, "the memory for received data is used up"),
        Blocked::OwnTrouble => Stall::new(StallReason::DiskSlow, "this machine did not take what arrived; see the log"),
        Blocked::NoValidatorSet { root, height } => {
            let detail = format!("nobody has given the validator set {root}, which signs height {height}");
            Stall::new(StallReason::ValidatorSetMissing, detail)
        }
        Blocked::StoreDamaged(Mend::Value(height)) => {
            let detail = format!("the value of height {height} is damaged and waits for somebody who has it");
            Stall::new(StallReason::StoreDamaged, detail)
        }
        Blocked::StoreDamaged(Mend::ValidatorSet(root)) => {
            let detail = format!("the validator set {root} is damaged and waits for somebody who has it");
            Stall::new(StallReason::StoreDamaged, detail)
        }
        Blocked::ImporterBehind => Stall::new(StallReason::ImporterBehind, "stored data is as far ahead as allowed"),
    }
}
