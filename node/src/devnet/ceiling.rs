//! What this machine can verify at best: the figure that a catching-up node is held against.

use std::{
    num::NonZero,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use lapis_protocol_spec::{BlobSidecar, Kzg, Matched};

/// Blobs per batch, as many as the node's own workers take at most.
const BATCH: usize = 64;
/// How long one measurement takes.
const MEASURE: Duration = Duration::from_millis(400);
/// Measurements; the best one counts, since others on the machine can only make it worse.
const MEASUREMENTS: usize = 3;

/// Blobs per second that `verify_blob_kzg_proof_batch` does on all cores with nothing else running.
#[derive(Clone, Copy, Debug)]
pub struct Ceiling {
    /// Threads used.
    pub threads: usize,
    /// Blobs per second.
    pub blobs_per_second: f64,
}

/// Measures with `sample`, which is verified over and over. Blocks for somewhat more than a second.
pub fn measure(kzg: &Arc<Kzg>, sample: &[Matched<BlobSidecar>]) -> Option<Ceiling> {
    if sample.is_empty() {
        return None;
    }
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    let batch: Vec<((), Matched<BlobSidecar>)> =
        sample.iter().cycle().take(BATCH).map(|sidecar| ((), sidecar.clone())).collect();
    let rate = || {
        let started = Instant::now();
        let blobs: usize = thread::scope(|scope| {
            let workers: Vec<_> = (0..threads).map(|_| scope.spawn(|| verify_for(kzg, &batch, MEASURE))).collect();
            workers.into_iter().map(|worker| worker.join().unwrap_or(0)).sum()
        });
        blobs as f64 / started.elapsed().as_secs_f64()
    };
    let blobs_per_second = (0..MEASUREMENTS).map(|_| rate()).fold(0.0, f64::max);
    Some(Ceiling { threads, blobs_per_second })
}

fn verify_for(kzg: &Kzg, batch: &[((), Matched<BlobSidecar>)], time: Duration) -> usize {
    let started = Instant::now();
    let mut blobs = 0;
    while started.elapsed() < time {
        blobs += kzg.verify_batch(batch.to_vec()).verified.len();
    }
    blobs
}
