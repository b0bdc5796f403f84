//! Costs of the store, in bytes of blobs per second where there are any.
//!
//! `insert` stores verified heights, one durable transaction for each group of heights, beside a plain file that is
//! written and synced as often. `read` gives all sidecars in pieces, as serving does, with their checksums verified, from
//! a store that has just been opened, beside a plain file; both are in the system's cache or not. `check` is what
//! verifying a checksum takes of reading a blob. `promote` decides a value of 1024 blobs that is held as undecided.
//! `prune` deletes heights.
//!
//! `README.md` beside this has a table of what came out.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
#![allow(missing_docs, reason = "criterion's macros")]

#[path = "../tests/store/fixture.rs"]
mod fixture;

use std::{
    hint::black_box,
    io::{Read, Write},
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use fixture::{Bench, Chain, Proposal, at};
use lapis_protocol_spec::{BlobSidecar, DecidedValue, PayloadEnvelope, Verified};
use lapis_storage::{Batch, PruneOptions};
use xxhash_rust::xxh3::Xxh3;

const BLOB: u64 = 131_072;

/// Heights with everything verified, to be stored again and again.
struct Verifieds {
    decided: Vec<Verified<DecidedValue>>,
    payloads: Vec<Verified<PayloadEnvelope>>,
    blobs: Vec<Vec<Verified<BlobSidecar>>>,
    proposals: Vec<Proposal>,
}

impl Verifieds {
    fn new(heights: u64, blobs: u64) -> Self {
        let mut chain = Chain::new();
        let mut all = Self { decided: Vec::new(), payloads: Vec::new(), blobs: Vec::new(), proposals: Vec::new() };
        for height in 0..heights {
            let proposal = chain.propose(&(height * blobs..(height + 1) * blobs).collect::<Vec<_>>(), 20_000);
            all.decided.push(chain.decide(&proposal));
            all.payloads.push(proposal.payload());
            all.blobs.push(proposal.blobs(0..proposal.sidecars.len()));
            all.proposals.push(proposal);
        }
        all
    }

    fn batch(&self, heights: std::ops::Range<usize>) -> Batch {
        Batch { payloads: self.payloads[heights.clone()].to_vec(), blobs: self.blobs[heights].concat() }
    }

    fn store(&self, group: usize) -> Bench {
        let bench = Bench::new();
        bench.store.mark_decided(&self.decided).unwrap();
        for start in (0..self.decided.len()).step_by(group) {
            bench.store.insert(self.batch(start..(start + group).min(self.decided.len()))).unwrap();
        }
        bench
    }

    fn bytes(&self) -> u64 {
        self.blobs.iter().map(|blobs| blobs.len() as u64 * BLOB).sum()
    }
}

fn insert(c: &mut Criterion) {
    let mut group = c.benchmark_group("insert");
    group.sample_size(10);
    for (heights, blobs, groups) in [(64, 6, [6, 60]), (1, 1024, [64, 1024])] {
        let data = Verifieds::new(heights, blobs);
        group.throughput(Throughput::Bytes(data.bytes()));
        for per_transaction in groups {
            let name = format!("{heights}x{blobs}, {per_transaction} blobs a transaction");
            group.bench_function(BenchmarkId::new("store", &name), |b| {
                b.iter_custom(|times| (0..times).map(|_| time_insert(&data, per_transaction)).sum());
            });
            group.bench_function(BenchmarkId::new("file", &name), |b| {
                b.iter_custom(|times| (0..times).map(|_| time_file(&data, per_transaction)).sum());
            });
        }
    }
}

fn time_insert(data: &Verifieds, group: usize) -> Duration {
    let bench = Bench::new();
    bench.store.mark_decided(&data.decided).unwrap();
    bench.store.insert(Batch { payloads: data.payloads.clone(), ..Batch::default() }).unwrap();
    let blobs = data.blobs.concat();
    let batches: Vec<Batch> =
        blobs.chunks(group).map(|blobs| Batch { blobs: blobs.to_vec(), ..Batch::default() }).collect();
    let start = Instant::now();
    for batch in batches {
        bench.store.insert(batch).unwrap();
    }
    start.elapsed()
}

fn time_file(data: &Verifieds, group: usize) -> Duration {
    let mut file = tempfile::tempfile().unwrap();
    let blobs: Vec<_> = data.blobs.iter().flatten().collect();
    let start = Instant::now();
    for blobs in blobs.chunks(group) {
        for blob in blobs {
            file.write_all(blob.blob.as_array()).unwrap();
        }
        file.sync_data().unwrap();
    }
    start.elapsed()
}

/// Everything that is read, in order, beside a plain file with the same bytes.
fn read(c: &mut Criterion) {
    let mut group = c.benchmark_group("read");
    group.sample_size(20);
    for (heights, blobs) in [(64, 6), (1, 1024)] {
        let data = Verifieds::new(heights, blobs);
        let mut stored = Stored::new(&data);
        group.throughput(Throughput::Bytes(data.bytes()));
        for cache in [Cache::Warm, Cache::Cold] {
            let name = format!("{heights}x{blobs}, {cache:?}");
            group.bench_function(BenchmarkId::new("store", &name), |b| {
                b.iter_custom(|times| (0..times).map(|_| stored.time_store(cache, heights, blobs)).sum());
            });
            group.bench_function(BenchmarkId::new("file", &name), |b| {
                b.iter_custom(|times| (0..times).map(|_| stored.time_file(cache)).sum());
            });
        }
    }
    group.finish();
}

/// Where data is when it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cache {
    /// In the system's memory, not in the database's.
    Warm,
    /// On the disk alone.
    Cold,
}

/// A closed store, and a file with the same blobs.
struct Stored {
    bench: Option<Bench>,
    file: tempfile::NamedTempFile,
    out: Vec<u8>,
}

impl Stored {
    fn new(data: &Verifieds) -> Self {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        data.blobs.iter().flatten().for_each(|blob| file.write_all(blob.blob.as_array()).unwrap());
        file.as_file().sync_all().unwrap();
        let group = if data.decided.len() == 1 { 1 } else { 4 };
        Self { bench: Some(data.store(group)), file, out: Vec::with_capacity(BlobSidecar::BYTES) }
    }

    fn time_store(&mut self, cache: Cache, heights: u64, blobs: u64) -> Duration {
        let bench = self.bench.take().unwrap().reopen_after(|path| cache.prepare(path));
        let start = Instant::now();
        let reader = bench.store.reader().unwrap();
        for (height, index) in (1..=heights).flat_map(|height| (0..blobs).map(move |index| (height, index))) {
            self.out.clear();
            let copy = |pieces: &[&[u8]]| pieces.iter().for_each(|piece| self.out.extend_from_slice(piece));
            reader.with_sidecar(height, index, copy).unwrap().unwrap();
            black_box(&self.out);
        }
        let took = start.elapsed();
        drop(reader);
        self.bench = Some(bench);
        took
    }

    fn time_file(&mut self, cache: Cache) -> Duration {
        cache.prepare(self.file.path());
        let mut file = std::fs::File::open(self.file.path()).unwrap();
        self.out.resize(usize::try_from(BLOB).unwrap(), 0);
        let start = Instant::now();
        while file.read_exact(&mut self.out).is_ok() {
            black_box(&self.out);
        }
        start.elapsed()
    }
}

impl Cache {
    fn prepare(self, path: &Path) {
        match self {
            Self::Warm => drop(std::fs::read(path).unwrap()),
            // Asks the system to forget what it has of the file.
            Self::Cold => {
                let mut of = std::ffi::OsString::from("of=");
                of.push(path);
                let dd =
                    Command::new("dd").arg(of).args(["oflag=nocache", "conv=notrunc,fdatasync", "count=0"]).output();
                assert!(dd.unwrap().status.success());
            }
        }
    }
}

/// What the check of a blob adds to reading it: a hash over its pieces, as they lie in the database's pages.
fn check(c: &mut Criterion) {
    let mut group = c.benchmark_group("check");
    let data = Verifieds::new(8, 6);
    let bench = data.store(4);
    let reader = bench.store.reader().unwrap();
    group.throughput(Throughput::Bytes(BLOB));
    let mut index = 0;
    group.bench_function("read a blob, checked, from the database's cache", |b| {
        b.iter(|| {
            index = (index + 1) % 48;
            reader.with_sidecar(1 + index / 6, index % 6, |pieces| black_box(pieces.len())).unwrap()
        });
    });
    let blobs: Vec<_> = data.blobs.iter().flatten().map(|blob| blob.blob.as_array()).collect();
    let mut at = 0;
    group.bench_function("hash a blob", |b| {
        b.iter(|| {
            at = (at + 1) % blobs.len();
            let mut hasher = Xxh3::with_seed(7);
            blobs[at].chunks(65_500).for_each(|piece| hasher.update(piece));
            black_box(hasher.digest())
        });
    });
    group.finish();
}

fn promote(c: &mut Criterion) {
    let mut group = c.benchmark_group("promote");
    group.sample_size(10);
    let data = Verifieds::new(1, 1024);
    group.bench_function("1024 blobs", |b| {
        b.iter_custom(|times| {
            let one = |_| {
                let bench = Bench::new();
                bench.store.insert_undecided(0, &data.proposals[0].value, at(0)).unwrap();
                bench.store.insert(data.batch(0..1)).unwrap();
                let start = Instant::now();
                assert_eq!(bench.store.mark_decided(&data.decided).unwrap().watermarks.available, 1);
                start.elapsed()
            };
            (0..times).map(one).sum()
        });
    });
}

fn prune(c: &mut Criterion) {
    let mut group = c.benchmark_group("prune");
    group.sample_size(10);
    for (heights, blobs) in [(64, 6), (2, 1024)] {
        let data = Verifieds::new(heights, blobs);
        group.throughput(Throughput::Bytes(data.bytes()));
        group.bench_function(format!("{heights}x{blobs}"), |b| {
            b.iter_custom(|times| {
                let one = |_| {
                    let bench = data.store(10);
                    bench.import_all();
                    let start = Instant::now();
                    while !bench.store.prune_below(heights + 1, PruneOptions::default()).unwrap().done {}
                    start.elapsed()
                };
                (0..times).map(one).sum()
            });
        });
    }
}

criterion_group!(benches, insert, read, check, promote, prune);
criterion_main!(benches);
