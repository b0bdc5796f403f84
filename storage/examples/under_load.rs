//! How long the one writer's lock is held while heights of 1024 blobs are archived and pruned, others insert and read.
//!
//! ```text
//! cargo run --release -p lapis-storage --example under_load -- [heights, 6] [directory, that of the system]
//! ```
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

#[path = "../tests/store/fixture.rs"]
mod fixture;

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use fixture::{Chain, plain_sidecar};
use lapis_protocol_spec::{BlobSidecar, Verified};
use lapis_storage::{Batch, PruneAllow, PruneOptions, Store, StoreConfig};

/// Blobs of each height that goes.
const BLOBS: u64 = 1024;
/// Blobs of each insertion meanwhile.
const INSERTED: usize = 6;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let heights = arguments.first().map_or(6, |number| number.parse().unwrap());
    let directory = arguments.get(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let directory = tempfile::TempDir::new_in(directory).unwrap();
    measure(&directory.path().join("store.redb"), heights);
}

/// How long calls took.
#[derive(Default)]
struct Times(Vec<Duration>);

impl Times {
    fn time<T>(&mut self, call: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = call();
        self.0.push(start.elapsed());
        result
    }

    fn print(mut self, what: &str) {
        self.0.sort_unstable();
        let at = |share: usize| self.0[(self.0.len() - 1) * share / 100];
        let (count, median, worst, longest) = (self.0.len(), at(50), at(99), at(100));
        println!(
            "{what:42} {count:6} calls, median {median:>8.1?}, 99 of 100 within {worst:>8.1?}, longest {longest:>8.1?}"
        );
    }
}

/// A store with heights that are imported, and one after them that is decided, with the blobs that it waits for.
fn filled(path: &Path, heights: u64) -> (Store, Vec<Verified<BlobSidecar>>) {
    let mut chain = Chain::new();
    let store = Store::open(path, &chain.genesis, StoreConfig::default()).unwrap();
    for height in 1..=heights {
        let sidecars = (height * BLOBS..(height + 1) * BLOBS).map(plain_sidecar).collect();
        let proposal = chain.propose_with(sidecars, 100_000);
        store.mark_decided(&[chain.decide(&proposal)]).unwrap();
        store.insert(proposal.batch()).unwrap();
        store.mark_imported(height, None).unwrap();
    }
    let last = chain.propose_with((0..BLOBS).map(plain_sidecar).collect(), 100_000);
    store.mark_decided(&[chain.decide(&last)]).unwrap();
    (store, last.blobs(0..last.sidecars.len()))
}

fn measure(path: &Path, heights: u64) {
    let (store, mut blobs) = filled(path, heights);
    let mut alone = Times::default();
    for _ in 0..40 {
        insert(&store, &mut blobs, &mut alone);
    }
    alone.print("insertion of 6 blobs, alone");
    let mut archiving = Times::default();
    let (mut pruning, mut inserting, mut reading) = (Times::default(), Times::default(), Times::default());
    let done = AtomicBool::new(false);
    let kept = heights;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            archiving.time(|| store.mark_archived(1..heights).unwrap());
            let options = PruneOptions { allow: PruneAllow::Archived, ..PruneOptions::default() };
            while !pruning.time(|| store.prune_below(heights, options).unwrap()).done {}
            done.store(true, Ordering::Release);
        });
        scope.spawn(|| {
            for index in (0..BLOBS).cycle().take_while(|_| !done.load(Ordering::Acquire)) {
                let whole = |pieces: &[&[u8]]| pieces.iter().map(|piece| piece.len()).sum::<usize>();
                let read = || store.reader().unwrap().with_sidecar(kept, index, whole).unwrap();
                assert_eq!(reading.time(read), Some(BlobSidecar::BYTES));
            }
        });
        scope.spawn(|| {
            while !done.load(Ordering::Acquire) && !blobs.is_empty() {
                insert(&store, &mut blobs, &mut inserting);
            }
        });
    });
    archiving.print("all heights but one marked as archived");
    pruning.print("step of pruning, at most 128 blobs");
    inserting.print("insertion of 6 blobs, meanwhile");
    reading.print("reading of a blob, meanwhile");
}

fn insert(store: &Store, blobs: &mut Vec<Verified<BlobSidecar>>, times: &mut Times) {
    let some = blobs.split_off(blobs.len().saturating_sub(INSERTED));
    times.time(|| store.insert(Batch { blobs: some, ..Batch::default() }).unwrap());
}
