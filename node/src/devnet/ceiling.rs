//! What this machine can verify at best: the figure that a catching-up node is held against.

use std::{
    num::NonZero,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use lapis_protocol_spec::{BlobSidecar, Kzg, Matched};

use crate::usage;

/// Blobs per batch, as many as the node's own workers take at most.
const BATCH: usize = 64;
/// How long one measurement takes.
const MEASURE: Duration = Duration::from_millis(400);
/// Measurements; the best one counts, since others on the machine can only make it worse.
const MEASUREMENTS: usize = 3;

/// What `verify_blob_kzg_proof_batch` does with nothing else running.
#[derive(Clone, Copy, Debug)]
pub struct Ceiling {
    /// Threads used.
    pub threads: usize,
    /// Blobs per second of all threads together.
    pub blobs_per_second: f64,
    /// Processor time of one blob.
    pub cpu_per_blob: Duration,
}

/// Measures all cores with `sample`, which is verified over and over. Blocks for somewhat more than a second.
pub fn measure(kzg: &Arc<Kzg>, sample: &[Matched<BlobSidecar>]) -> Option<Ceiling> {
    measure_on(thread::available_parallelism().map_or(1, NonZero::get), kzg, sample)
}

/// Measures so many threads with `sample`. Blocks for somewhat more than a second. `None` if there is nothing to verify.
pub fn measure_on(threads: usize, kzg: &Arc<Kzg>, sample: &[Matched<BlobSidecar>]) -> Option<Ceiling> {
    if sample.is_empty() {
        return None;
    }
    let batch: Vec<((), Matched<BlobSidecar>)> =
        sample.iter().cycle().take(BATCH).map(|sidecar| ((), sidecar.clone())).collect();
    (0..MEASUREMENTS)
        .map(|_| measure_once(threads, kzg, &batch))
        .max_by(|a, b| a.blobs_per_second.total_cmp(&b.blobs_per_second))
}

fn measure_once(threads: usize, kzg: &Kzg, batch: &[((), Matched<BlobSidecar>)]) -> Ceiling {
    let started = Instant::now();
    let (blobs, cpu) = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(|| verify_for(kzg, batch, MEASURE))).collect();
        let results = workers.into_iter().filter_map(|worker| worker.join().ok());
        results.fold((0_usize, Duration::ZERO), |(blobs, cpu), (more, time)| (blobs + more, cpu + time))
    });
    Ceiling {
        threads,
        blobs_per_second: blobs as f64 / started.elapsed().as_secs_f64(),
        cpu_per_blob: cpu.div_f64(blobs.max(1) as f64),
    }
}

/// Verifies for so long; how many blobs that were, and the thread's processor time.
fn verify_for(kzg: &Kzg, batch: &[((), Matched<BlobSidecar>)], time: Duration) -> (usize, Duration) {
    let (started, cpu) = (Instant::now(), usage::thread_cpu());
    let mut blobs = 0;
    while started.elapsed() < time {
        blobs += kzg.verify_batch(batch.to_vec()).verified.len();
    }
    (blobs, usage::thread_cpu().saturating_sub(cpu))
}
