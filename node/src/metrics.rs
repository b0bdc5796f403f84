//! The node's own metric families. Names that Ultramarine has for the same thing are kept.

mod sync;

use std::{fmt::Debug, sync::Arc, time::Duration};

use lapis_storage::{Decided, StoreStats, TableName, Watermarks};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};

use crate::{archiver::ArchiverMetrics, execution::PayloadStatus, import::ImportState, sync::scheduler::Mend};

pub use self::sync::SyncMetrics;

/// A label with the kind of something.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    kind: String,
}

impl Kind {
    fn of(kind: &(impl Debug + ?Sized)) -> Self {
        let name = format!("{kind:?}");
        let end = name.find([' ', '(', '{']).unwrap_or(name.len());
        Self { kind: snake_case(name.get(..end).unwrap_or(&name)) }
    }
}

fn snake_case(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 4);
    for letter in name.chars() {
        if letter.is_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.extend(letter.to_lowercase());
    }
    out
}

fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.000_25, 2.0, 18))
}

/// All families. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Verification and writing.
    pub pipeline: Arc<PipelineMetrics>,
    /// Scheduling.
    pub sync: Arc<SyncMetrics>,
    /// Import.
    pub import: Arc<ImportMetrics>,
    /// The store.
    pub store: Arc<StoreMetrics>,
    /// Archiving.
    pub archiver: Arc<ArchiverMetrics>,
}

impl Metrics {
    /// Creates and registers the families.
    pub fn register(registry: &mut Registry) -> Self {
        build_info(registry);
        Self {
            pipeline: Arc::new(PipelineMetrics::register(registry)),
            sync: Arc::new(SyncMetrics::register(registry)),
            import: Arc::new(ImportMetrics::register(registry)),
            store: Arc::new(StoreMetrics::register(registry)),
            archiver: Arc::new(ArchiverMetrics::register(registry)),
        }
    }

    /// A damaged row was met.
    pub fn damaged_row(&self, table: TableName) {
        self.store.damaged.get_or_create(&Kind::of(&table)).inc();
    }
}

fn build_info(registry: &mut Registry) {
    #[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
    struct Build {
        version: &'static str,
    }
    let info = Family::<Build, Gauge>::default();
    info.get_or_create(&Build { version: env!("CARGO_PKG_VERSION") }).set(1);
    registry.register("lapis_build_info", "Version of the program", info);
}

/// Verification and writing.
#[derive(Debug)]
pub struct PipelineMetrics {
    success: Counter,
    failure: Counter,
    verification_time: Histogram,
    batch_size: Histogram,
    transaction_time: Histogram,
    stored_items: Counter,
    archived_items: Counter,
    stored_bytes: Counter,
}

impl PipelineMetrics {
    fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            success: Counter::default(),
            failure: Counter::default(),
            verification_time: seconds(),
            batch_size: Histogram::new(exponential_buckets(1.0, 2.0, 8)),
            transaction_time: seconds(),
            stored_items: Counter::default(),
            archived_items: Counter::default(),
            stored_bytes: Counter::default(),
        };
        registry.register("blob_engine_verifications_success", "Blobs whose proof verified", metrics.success.clone());
        registry.register("blob_engine_verifications_failure", "Blobs whose proof did not", metrics.failure.clone());
        let help = "Time of one KZG batch";
        registry.register_with_unit(
            "blob_engine_verification_time",
            help,
            Unit::Seconds,
            metrics.verification_time.clone(),
        );
        registry.register("lapis_kzg_batch_size", "Blobs in one KZG batch", metrics.batch_size.clone());
        let help = "Time of one durable store transaction of the sync writer";
        registry.register_with_unit("lapis_store_transaction", help, Unit::Seconds, metrics.transaction_time.clone());
        registry.register("lapis_sync_stored_items", "Payloads and blobs stored by sync", metrics.stored_items.clone());
        let help = "Payloads and blobs stored by sync that came from archives";
        registry.register("lapis_sync_archive_items", help, metrics.archived_items.clone());
        let help = "Bytes of payloads and blobs stored by sync";
        registry.register_with_unit("lapis_sync_stored", help, Unit::Bytes, metrics.stored_bytes.clone());
        metrics
    }

    /// A KZG batch was checked: so many blobs are proven, so many are not.
    pub fn verified_batch(&self, proven: usize, faulty: usize, elapsed: Duration) {
        self.success.inc_by(proven as u64);
        self.failure.inc_by(faulty as u64);
        self.batch_size.observe((proven + faulty) as f64);
        self.verification_time.observe(elapsed.as_secs_f64());
    }

    /// A transaction was committed: of so many items, so many of them from archives.
    pub fn committed(&self, items: usize, archived: usize, bytes: usize, elapsed: Duration) {
        self.stored_items.inc_by(items as u64);
        self.archived_items.inc_by(archived as u64);
        self.stored_bytes.inc_by(bytes as u64);
        self.transaction_time.observe(elapsed.as_secs_f64());
    }

    /// Blobs that verified since the start.
    pub fn verified_blobs(&self) -> u64 {
        self.success.get()
    }

    /// Blobs that did not verify since the start.
    pub fn faulty_blobs(&self) -> u64 {
        self.failure.get()
    }

    /// Payloads and blobs stored since the start that came from archives.
    pub fn archived_items(&self) -> u64 {
        self.archived_items.get()
    }

    /// Bytes of payloads and blobs stored since the start.
    pub fn stored_bytes(&self) -> u64 {
        self.stored_bytes.get()
    }
}

/// Import.
#[derive(Debug)]
pub struct ImportMetrics {
    results: Family<Kind, Counter>,
    time: Histogram,
    state: Family<Kind, Gauge>,
    fed: Counter,
}

impl ImportMetrics {
    fn register(registry: &mut Registry) -> Self {
        let (results, state, fed) = (Family::default(), Family::default(), Counter::default());
        let metrics = Self { results, time: seconds(), state, fed };
        registry.register("lapis_import_results", "Answers of the execution engine", metrics.results.clone());
        registry.register_with_unit("lapis_import_time", "Time of one import", Unit::Seconds, metrics.time.clone());
        registry.register("lapis_import_state", "1 for what import is doing or waits for", metrics.state.clone());
        let help = "Heights that the execution engine was given again, since it lacked them";
        registry.register("lapis_import_fed_heights", help, metrics.fed.clone());
        metrics
    }

    /// What import is doing, one of [`ImportState::NAMES`].
    pub fn state(&self, name: &str) {
        for known in ImportState::NAMES {
            self.state.get_or_create(&Kind { kind: known.to_owned() }).set(i64::from(known == name));
        }
    }

    /// The engine took a height again that it had lost.
    pub fn fed(&self) {
        self.fed.inc();
    }

    /// The engine answered to a payload.
    pub fn observe(&self, status: &PayloadStatus, elapsed: Duration) {
        self.results.get_or_create(&Kind::of(status)).inc();
        self.time.observe(elapsed.as_secs_f64());
    }
}

/// The store.
#[derive(Debug)]
pub struct StoreMetrics {
    watermarks: Family<Kind, Gauge>,
    bytes_undecided: Gauge,
    bytes_decided: Gauge,
    blobs: Family<Kind, Gauge>,
    promoted: Counter,
    dropped: Counter,
    pruned: Counter,
    blobs_per_block: Histogram,
    damaged: Family<Kind, Counter>,
    mended: Family<Kind, Counter>,
}

impl StoreMetrics {
    fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            watermarks: Family::default(),
            bytes_undecided: Gauge::default(),
            bytes_decided: Gauge::default(),
            blobs: Family::default(),
            promoted: Counter::default(),
            dropped: Counter::default(),
            pruned: Counter::default(),
            blobs_per_block: Histogram::new(exponential_buckets(1.0, 2.0, 13)),
            damaged: Family::default(),
            mended: Family::default(),
        };
        registry.register("lapis_watermark_height", "Watermarks of the store", metrics.watermarks.clone());
        let help = "Bytes of blobs that belong to undecided values only";
        registry.register("blob_engine_storage_bytes_undecided", help, metrics.bytes_undecided.clone());
        let help = "Bytes of blobs that belong to decided values";
        registry.register("blob_engine_storage_bytes_decided", help, metrics.bytes_decided.clone());
        registry.register("lapis_store_blobs", "Blobs by phase of their life", metrics.blobs.clone());
        registry.register(
            "blob_engine_lifecycle_promoted",
            "Undecided values that were decided with their data",
            metrics.promoted.clone(),
        );
        registry.register("blob_engine_lifecycle_dropped", "Undecided blobs dropped", metrics.dropped.clone());
        registry.register("blob_engine_lifecycle_pruned", "Blobs pruned", metrics.pruned.clone());
        registry.register("blob_engine_blobs_per_block", "Blobs of decided values", metrics.blobs_per_block.clone());
        registry.register("lapis_store_damaged_rows", "Rows that failed their check", metrics.damaged.clone());
        let help = "Damaged values and validator sets that were fetched again and written";
        registry.register("lapis_store_mended_rows", help, metrics.mended.clone());
        metrics
    }

    /// A damaged row was fetched again and written.
    pub fn mended(&self, mend: &Mend) {
        self.mended.get_or_create(&Kind::of(mend)).inc();
    }

    /// Where the store stands.
    pub fn watermarks(&self, marks: &Watermarks) {
        for (kind, height) in [
            ("decided", marks.decided),
            ("available", marks.available),
            ("imported", marks.imported),
            ("archived", marks.archived),
            ("pruned", marks.pruned),
        ] {
            self.watermarks.get_or_create(&Kind { kind: kind.to_owned() }).set(gauge(height));
        }
    }

    /// What the store holds.
    pub fn stats(&self, stats: &StoreStats) {
        let blobs = &stats.tallies.blobs;
        self.bytes_undecided.set(gauge(blobs.undecided.bytes));
        self.bytes_decided.set(gauge(blobs.decided.bytes.saturating_add(blobs.archived.bytes)));
        for (kind, tally) in [
            ("undecided", blobs.undecided),
            ("decided", blobs.decided),
            ("archived", blobs.archived),
            ("pruned", blobs.pruned),
        ] {
            self.blobs.get_or_create(&Kind { kind: kind.to_owned() }).set(gauge(tally.count));
        }
    }

    /// Values with so many blobs each were decided.
    pub fn decided(&self, blobs: &[usize], stored: &Decided) {
        blobs.iter().for_each(|blobs| self.blobs_per_block.observe(*blobs as f64));
        self.promoted.inc_by(stored.promoted);
        self.dropped.inc_by(stored.dropped.blobs);
    }

    /// Undecided blobs were dropped.
    pub fn dropped(&self, blobs: u64) {
        self.dropped.inc_by(blobs);
    }

    /// Blobs were pruned.
    pub fn pruned(&self, blobs: u64) {
        self.pruned.inc_by(blobs);
    }
}

/// Gauges are signed; nothing counted here comes near the sign.
fn gauge(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
