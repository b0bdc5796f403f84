//! The metric families of the archiver.

use std::time::Duration;

use prometheus_client::{
    metrics::{
        counter::Counter,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};

/// Archiving.
#[derive(Debug)]
pub struct ArchiverMetrics {
    heights: Counter,
    bytes: Counter,
    failures: Counter,
    pending: Gauge,
    time: Histogram,
}

impl ArchiverMetrics {
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            heights: Counter::default(),
            bytes: Counter::default(),
            failures: Counter::default(),
            pending: Gauge::default(),
            time: Histogram::new(exponential_buckets(0.015_625, 2.0, 18)),
        };
        registry.register("lapis_archiver_heights", "Heights archived", metrics.heights.clone());
        let help = "Bytes of archives written, after compression";
        registry.register_with_unit("lapis_archiver_written", help, Unit::Bytes, metrics.bytes.clone());
        registry.register("lapis_archiver_failures", "Archives that could not be written", metrics.failures.clone());
        let help = "Complete heights that are not archived yet";
        registry.register("lapis_archiver_pending_heights", help, metrics.pending.clone());
        let help = "Time of one archive, from reading the store to the note that it is there";
        registry.register_with_unit("lapis_archiver_archive", help, Unit::Seconds, metrics.time.clone());
        metrics
    }

    /// So many complete heights are not archived.
    pub fn pending(&self, heights: u64) {
        self.pending.set(i64::try_from(heights).unwrap_or(i64::MAX));
    }

    /// An archive was written.
    pub fn written(&self, heights: u64, bytes: u64, elapsed: Duration) {
        self.heights.inc_by(heights);
        self.bytes.inc_by(bytes);
        self.time.observe(elapsed.as_secs_f64());
    }

    /// An archive could not be written.
    pub fn failed(&self) {
        self.failures.inc();
    }
}
