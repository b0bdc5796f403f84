//! Disk use: blocks allocated over bytes of data.

use lapis_storage::{Batch, PruneOptions, Store, StoreConfig};

use crate::fixture::{Bench, KZG, Proposal, at, plain_sidecar, sidecar};

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
fn over(allocated: u64, data: u64) -> f64 {
    allocated as f64 / data as f64
}

fn ratio(store: &Store) -> f64 {
    over(allocated(store), data(store))
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

/// A chain at a constant retention: heights come, and what is older goes.
struct Steady {
    /// Blobs of each height.
    blobs: u64,
    /// How many of them are the last ones of the height before.
    repeated: u64,
    /// Heights whose blobs are kept.
    retention: u64,
    /// Heights that come once so many are held.
    rounds: u64,
    /// When what is too old goes.
    order: Order,
}

/// What happens to a height, in which order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    /// It is decided, the oldest one goes, its data comes: as with a node that follows others.
    PruneFirst,
    /// Its data comes, it is decided, the oldest one goes: as with a node that takes part in consensus. Once in each round,
    /// a height more than is kept is held.
    PruneLast,
}

struct Measured {
    /// Bytes allocated over the most bytes held in a round, at worst, once the first rounds are over.
    ratio: f64,
    /// Bytes allocated beyond the data after the first half of the rounds, and after all. Payloads and values stay.
    half: u64,
    end: u64,
}

impl Steady {
    fn run(&self) -> Measured {
        let mut bench = Bench::new();
        let mut measured = Measured { ratio: 0.0, half: 0, end: 0 };
        for height in 1..=self.retention + self.rounds {
            let round = height.saturating_sub(self.retention);
            let seeds = height * (self.blobs - self.repeated)..;
            let sidecars = seeds.take(usize::try_from(self.blobs).unwrap()).map(plain_sidecar).collect();
            let proposal = bench.chain.propose_with(sidecars, 20_000);
            let decided = bench.chain.decide(&proposal);
            if self.order == Order::PruneLast {
                bench.store.insert_undecided(0, &proposal.value, at(0)).unwrap();
                insert(&bench.store, &proposal);
            }
            bench.store.mark_decided(&[decided]).unwrap();
            let most = data(&bench.store);
            while round > 0 && !bench.store.prune_below(round + 1, PruneOptions::default()).unwrap().done {}
            if self.order == Order::PruneFirst {
                insert(&bench.store, &proposal);
            }
            bench.store.mark_imported(height, None).unwrap();
            let most = most.max(data(&bench.store));
            let now = allocated(&bench.store);
            if round > self.rounds / 5 {
                measured.ratio = measured.ratio.max(over(now, most));
            }
            let beyond = now - data(&bench.store);
            match round {
                _ if round == self.rounds => measured.end = beyond,
                _ if round == self.rounds / 2 => measured.half = beyond,
                _ => {}
            }
        }
        let kept = self.retention * (self.blobs - self.repeated) + self.repeated;
        assert_eq!(bench.store.stats().unwrap().tallies.blobs.held().count, kept);
        measured
    }

    fn assert_within_bounds(&self) {
        let Measured { ratio, half, end } = self.run();
        let Self { blobs, repeated, retention, rounds, order } = self;
        let what = format!("{blobs} blobs ({repeated} repeated), {retention} heights, {rounds} rounds, {order:?}");
        println!("{what}: {ratio:.4} of the data");
        assert!(ratio <= RATIO, "{what}: {ratio:.4} of the data");
        let height = blobs * 131_072;
        assert!(end <= half + height / 2, "{what}: the file creeps, from {half} bytes beyond the data to {end}");
    }
}

/// Stores all data of a height, as it comes in: some blobs at a time.
fn insert(store: &Store, proposal: &Proposal) {
    store.insert(Batch { payloads: vec![proposal.payload()], ..Batch::default() }).unwrap();
    for chunk in (0..proposal.sidecars.len()).collect::<Vec<_>>().chunks(64) {
        store.insert(Batch { blobs: proposal.blobs(chunk.iter().copied()), ..Batch::default() }).unwrap();
    }
}

#[test]
fn space_is_used_again_at_a_constant_retention() {
    let steady = |blobs, repeated, retention, order| Steady { blobs, repeated, retention, rounds: 50, order };
    steady(6, 0, 20, Order::PruneFirst).assert_within_bounds();
    steady(9, 0, 20, Order::PruneFirst).assert_within_bounds();
    steady(6, 2, 40, Order::PruneFirst).assert_within_bounds();
    steady(6, 0, 40, Order::PruneLast).assert_within_bounds();
    steady(6, 2, 40, Order::PruneLast).assert_within_bounds();
}

#[test]
fn space_is_used_again_at_a_constant_retention_of_very_large_heights() {
    Steady { blobs: 1024, repeated: 0, retention: 3, rounds: 6, order: Order::PruneFirst }.assert_within_bounds();
    Steady { blobs: 1024, repeated: 256, retention: 4, rounds: 4, order: Order::PruneLast }.assert_within_bounds();
}

#[test]
fn the_file_is_measured_in_blocks() {
    let bench = Bench::with(StoreConfig::default());
    let stats = bench.store.stats().unwrap();
    assert_eq!(stats.file_bytes, std::fs::metadata(bench.path()).unwrap().len());
    assert!(stats.allocated_bytes > 0 && stats.allocated_bytes <= stats.file_bytes.next_multiple_of(4096));
}
