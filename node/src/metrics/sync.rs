//! The families of the sync.

use lapis_p2p::Offence;
use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::{Registry, Unit},
};

use super::{Kind, gauge};
use crate::{
    status::{PoolStatus, Stall, StallReason},
    sync::{SyncView, scheduler::Stats},
};

/// Scheduling.
#[derive(Debug)]
pub struct SyncMetrics {
    target: Gauge,
    peers: Gauge,
    buffered: Gauge,
    in_flight: Gauge,
    offences: Family<Kind, Counter>,
    archives: Gauge,
    archived_values: Counter,
    archive_faults: Family<Kind, Counter>,
    stall: Family<Kind, Gauge>,
    failures: Counter,
    without_progress: Gauge,
    rotations: Counter,
    hedges: Counter,
    hedges_won: Counter,
    wasted: Counter,
    unclaimed_requests: Counter,
    unclaimed_items: Counter,
    pool: PoolMetrics,
}

/// The execution client's pool.
#[derive(Debug, Default)]
struct PoolMetrics {
    calls: Counter,
    blobs: Counter,
    misses: Counter,
    failures: Counter,
    faults: Counter,
}

impl PoolMetrics {
    fn register(&self, registry: &mut Registry) {
        let help = "Calls of the execution client's blob pool for blobs of new heights";
        registry.register("lapis_sync_pool_calls", help, self.calls.clone());
        let help = "Blobs that the execution client's pool gave";
        registry.register("lapis_sync_pool_blobs", help, self.blobs.clone());
        let help = "Blobs that the execution client's pool was asked for and does not have";
        registry.register("lapis_sync_pool_misses", help, self.misses.clone());
        let help = "Calls of the execution client's pool without an answer in time";
        registry.register("lapis_sync_pool_failures", help, self.failures.clone());
        let help = "Blobs that the execution client's pool gave and that failed verification";
        registry.register("lapis_sync_pool_faults", help, self.faults.clone());
    }

    fn counted(&self, before: &Stats, now: &Stats) {
        self.calls.inc_by(now.pool_calls.saturating_sub(before.pool_calls));
        self.blobs.inc_by(now.pool_blobs.saturating_sub(before.pool_blobs));
        self.misses.inc_by(now.pool_misses.saturating_sub(before.pool_misses));
        self.failures.inc_by(now.pool_failures.saturating_sub(before.pool_failures));
        self.faults.inc_by(now.pool_faults.saturating_sub(before.pool_faults));
    }
}

impl SyncMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            target: Gauge::default(),
            peers: Gauge::default(),
            buffered: Gauge::default(),
            in_flight: Gauge::default(),
            offences: Family::default(),
            archives: Gauge::default(),
            archived_values: Counter::default(),
            archive_faults: Family::default(),
            stall: Family::default(),
            failures: Counter::default(),
            without_progress: Gauge::default(),
            rotations: Counter::default(),
            hedges: Counter::default(),
            hedges_won: Counter::default(),
            wasted: Counter::default(),
            unclaimed_requests: Counter::default(),
            unclaimed_items: Counter::default(),
            pool: PoolMetrics::default(),
        };
        registry.register("lapis_sync_target_height", "Height worked towards", metrics.target.clone());
        registry.register("lapis_sync_peers", "Peers that finished the handshake", metrics.peers.clone());
        let help = "Bytes asked for or received and not yet stored";
        registry.register_with_unit("lapis_sync_buffered", help, Unit::Bytes, metrics.buffered.clone());
        registry.register("lapis_sync_requests_in_flight", "Exchanges in flight", metrics.in_flight.clone());
        registry.register("lapis_sync_offences", "Offences of peers found by sync", metrics.offences.clone());
        registry.register("lapis_sync_archives", "Archives that may be asked", metrics.archives.clone());
        let help = "Decided values stored that came from archives";
        registry.register("lapis_sync_archive_values", help, metrics.archived_values.clone());
        let help = "Answers of archives that were wrong or did not come";
        registry.register("lapis_sync_archive_faults", help, metrics.archive_faults.clone());
        registry.register("lapis_sync_stalled", "1 for the reason why nothing moves", metrics.stall.clone());
        registry.register("blob_engine_sync_failures", "Exchanges that a peer spoilt", metrics.failures.clone());
        metrics.register_pace(registry);
        metrics.pool.register(registry);
        metrics
    }

    fn register_pace(&self, registry: &mut Registry) {
        let help = "Time since anything was stored or decided while behind";
        let without = self.without_progress.clone();
        registry.register_with_unit("lapis_sync_without_progress", help, Unit::Seconds, without);
        let help = "Times that other peers were asked for since nothing moved";
        registry.register("lapis_sync_rotations", help, self.rotations.clone());
        let help = "Second requests for what held up the order";
        registry.register("lapis_sync_hedges", help, self.hedges.clone());
        let help = "Second requests that were faster than the first";
        registry.register("lapis_sync_hedges_won", help, self.hedges_won.clone());
        let help = "Bytes of items that came twice or failed verification";
        registry.register_with_unit("lapis_sync_wasted", help, Unit::Bytes, self.wasted.clone());
        let help = "Requests for data by root to peers that do not claim it";
        registry.register("lapis_sync_unclaimed_requests", help, self.unclaimed_requests.clone());
        let help = "Payloads and blobs that came from peers that do not claim them";
        registry.register("lapis_sync_unclaimed_items", help, self.unclaimed_items.clone());
    }

    /// Other peers were asked for since nothing moved.
    pub fn rotated(&self) {
        self.rotations.inc();
    }

    /// Counts what the scheduler counted since `before`.
    pub fn counted(&self, before: &Stats, now: &Stats) {
        self.hedges.inc_by(now.hedges.saturating_sub(before.hedges));
        self.hedges_won.inc_by(now.hedges_won.saturating_sub(before.hedges_won));
        self.wasted.inc_by(now.wasted_bytes.saturating_sub(before.wasted_bytes));
        self.unclaimed_requests.inc_by(now.unclaimed_requests.saturating_sub(before.unclaimed_requests));
        self.unclaimed_items.inc_by(now.unclaimed_items.saturating_sub(before.unclaimed_items));
        self.pool.counted(before, now);
    }

    /// What the execution client's pool gave since the start.
    pub fn pool(&self, is_asked: bool) -> PoolStatus {
        let PoolMetrics { calls, blobs, misses, failures, faults } = &self.pool;
        PoolStatus {
            is_asked,
            calls: calls.get(),
            blobs: blobs.get(),
            misses: misses.get(),
            failures: failures.get(),
            faults: faults.get(),
        }
    }

    /// Second requests since the start, and those that were faster than the first.
    pub fn hedges(&self) -> (u64, u64) {
        (self.hedges.get(), self.hedges_won.get())
    }

    /// A peer did something wrong.
    pub fn offence(&self, offence: Offence) {
        self.failures.inc();
        self.offences.get_or_create(&Kind::of(&offence)).inc();
    }

    /// An archive did what would be an offence of a peer.
    pub fn archive_fault(&self, offence: Offence) {
        self.archive_faults.get_or_create(&Kind::of(&offence)).inc();
    }

    /// Answers of archives since the start that were wrong or did not come.
    pub fn archive_faults(&self) -> u64 {
        Offence::ALL
            .iter()
            .filter_map(|offence| self.archive_faults.get(&Kind::of(offence)))
            .map(|kind| kind.get())
            .sum()
    }

    /// So many decided values from archives were stored.
    pub fn archived_values(&self, count: usize) {
        self.archived_values.inc_by(count as u64);
    }

    /// Decided values stored since the start that came from archives.
    pub fn values_from_archives(&self) -> u64 {
        self.archived_values.get()
    }

    /// How sync is doing.
    pub fn view(&self, view: &SyncView) {
        self.target.set(gauge(view.target));
        self.peers.set(gauge(view.peers as u64));
        self.archives.set(gauge(view.archives as u64));
        self.buffered.set(gauge(view.buffered_bytes));
        self.in_flight.set(gauge(view.in_flight as u64));
        self.without_progress.set(gauge(view.seconds_without_progress));
    }

    /// Why nothing moves, if nothing does.
    pub fn stalled(&self, stall: Option<&Stall>) {
        for reason in StallReason::ALL {
            let current = stall.is_some_and(|stall| stall.reason == reason);
            self.stall.get_or_create(&Kind { kind: reason.as_str().to_owned() }).set(i64::from(current));
        }
    }
}
