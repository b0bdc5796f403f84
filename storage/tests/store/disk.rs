//! Disk use: blocks allocated over bytes of data.

use std::num::NonZeroU64;

use lapis_storage::{Batch, PruneOptions, Store, StoreConfig};

use crate::fixture::{Bench, KZG, sidecar};

/// The most that disk use may be over the data.
const RATIO: f64 = 1.05;

fn allocated(store: &Store) -> u64 {
    store.stats().unwrap().allocated_bytes
}

fn data(store: &Store) -> u64 {
    let tallies = store.stats().unwrap().tallies;
    tallies.values_decided.bytes + tallies.payloads.held().bytes + tallies.blobs.held().bytes
}

#[expect(clippy::cast_precision_loss, reason = "a ratio of some megabytes")]
fn ratio(store: &Store) -> f64 {
    allocated(store) as f64 / data(store) as f64
}

/// Heights of `blobs` blobs each, every one of them different, stored height by height.
fn fill(blobs: u64, heights: u64) -> Bench {
    let mut bench = Bench::new();
    for height in 0..heights {
        let seeds: Vec<u64> = (height * blobs..(height + 1) * blobs).collect();
        bench.whole(&seeds);
    }
    bench
}

#[test]
fn six_and_nine_blobs_a_height_take_the_room_of_their_data() {
    for (blobs, heights) in [(6, 100), (9, 60)] {
        let bench = fill(blobs, heights);
        let ratio = ratio(&bench.store);
        println!("{blobs} blobs a height: {ratio:.4} of the data");
        assert!(ratio <= RATIO, "{blobs} blobs a height take {ratio:.4} of the data");
    }
}

#[test]
fn duplicates_take_no_room_of_their_own() {
    let mut bench = Bench::new();
    for height in 0..80_u64 {
        // Four distinct blobs at six places, of which two were in the height before.
        let seeds: Vec<u64> = [0, 1, 2, 3, 0, 1].iter().map(|i| 2 * height + i).collect();
        bench.whole(&seeds);
    }
    assert_eq!(bench.store.stats().unwrap().tallies.blobs.held().count, 2 * 80 + 2);
    let ratio = ratio(&bench.store);
    println!("with duplicates: {ratio:.4} of the distinct data");
    assert!(ratio <= RATIO, "{ratio:.4}");
}

#[test]
fn large_heights_take_the_room_of_their_data() {
    let mut bench = Bench::new();
    for height in 0..2_u64 {
        let sidecars = (height * 400..height * 400 + 400).map(sidecar).collect();
        let proposal = bench.chain.propose_with(sidecars, 300_000);
        let decided = bench.chain.decide(&proposal);
        bench.store.mark_decided(&[decided]).unwrap();
        bench.store.insert(Batch { payloads: vec![proposal.payload()], ..Batch::default() }).unwrap();
        for chunk in (0..400).collect::<Vec<_>>().chunks(64) {
            let matched = chunk.iter().map(|index| proposal.matched(*index)).collect();
            assert!(bench.store.verify_and_store(&KZG, Vec::new(), matched).unwrap().faulty_blobs.is_empty());
        }
    }
    assert_eq!(bench.store.watermarks().available, 2);
    let ratio = ratio(&bench.store);
    println!("400 blobs a height: {ratio:.4} of the data");
    assert!(ratio <= RATIO, "{ratio:.4}");
}

#[test]
fn space_is_used_again_after_pruning() {
    const RETENTION: u64 = 40;
    let mut bench = fill(6, RETENTION);
    bench.import_all();
    let options = PruneOptions { max_heights: NonZeroU64::MIN, ..PruneOptions::default() };
    let mut early = 0;
    for round in 0..50_u64 {
        let first = (RETENTION + round) * 6;
        let proposal = bench.whole(&(first..first + 6).collect::<Vec<_>>());
        bench.store.mark_imported(proposal.height(), None).unwrap();
        while !bench.store.prune_below(proposal.height() + 1 - RETENTION, options).unwrap().done {}
        if round == 9 {
            early = allocated(&bench.store);
        }
    }
    assert_eq!(bench.store.stats().unwrap().tallies.blobs.held().count, RETENTION * 6);
    let late = allocated(&bench.store);
    let ratio = ratio(&bench.store);
    println!("after 10 rounds {early} bytes, after 50 rounds {late}, {ratio:.4} of the data");
    assert!(late <= early + early / 100, "the file creeps: {early} bytes after 10 rounds, {late} after 50");
    assert!(ratio <= RATIO, "{ratio:.4} of the data after pruning");
    let bench = bench.reopen_after(|_| ());
    assert!(bench.store.reader().unwrap().sidecar(RETENTION + 50, 5).unwrap().is_some());
}

#[test]
fn the_file_is_measured_in_blocks() {
    let bench = Bench::with(StoreConfig::default());
    let stats = bench.store.stats().unwrap();
    assert_eq!(stats.file_bytes, std::fs::metadata(bench.path()).unwrap().len());
    assert!(stats.allocated_bytes > 0 && stats.allocated_bytes <= stats.file_bytes.next_multiple_of(4096));
}
