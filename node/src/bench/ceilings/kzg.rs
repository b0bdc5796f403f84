//! Verification and nothing else, on all threads, measured in turns with what is compared with it.
//!
//! Machines change by some percent within minutes, so a figure of one minute is no ceiling of the next one's.

use std::sync::Arc;

use lapis_protocol_spec::{BlobSidecar, Kzg, Matched};

use super::median;
use crate::devnet::{self, Ceiling};

/// What was measured so far, and with what.
#[derive(Clone, Debug)]
pub(in crate::bench) struct KzgCeiling {
    kzg: Arc<Kzg>,
    sample: Arc<[Matched<BlobSidecar>]>,
    measured: Vec<Ceiling>,
}

impl KzgCeiling {
    pub(in crate::bench) fn new(kzg: Arc<Kzg>, sample: Vec<Matched<BlobSidecar>>) -> Self {
        Self { kzg, sample: sample.into(), measured: Vec::new() }
    }

    /// Blobs per second of one thread. Blocks for somewhat more than a second.
    pub(in crate::bench) fn one_thread(&self) -> Option<f64> {
        devnet::measure_on(1, &self.kzg, &self.sample).map(|ceiling| ceiling.blobs_per_second)
    }

    /// Measures once more. Blocks for somewhat more than a second.
    pub(in crate::bench) fn measure(&mut self) {
        self.measured.extend(devnet::measure(&self.kzg, &self.sample));
    }

    /// Blobs per second, the median of what was measured.
    pub(in crate::bench) fn blobs_per_second(&self) -> Option<f64> {
        median(self.measured.iter().map(|ceiling| ceiling.blobs_per_second))
    }

    /// Milliseconds of processor time that a blob takes, likewise.
    pub(in crate::bench) fn cpu_ms_per_blob(&self) -> Option<f64> {
        median(self.measured.iter().map(|ceiling| ceiling.cpu_per_blob.as_secs_f64() * 1000.0))
    }
}
