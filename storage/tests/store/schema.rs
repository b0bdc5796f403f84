//! Stores that earlier versions wrote: opened, migrated, and found to hold what they held.
//!
//! `tests/data` has a store of each earlier schema, all made by [`fill`]. What this version makes of such a file is
//! compared with what [`fill`] makes now.

use std::{num::NonZeroU64, path::Path, sync::Arc};

use lapis_storage::{
    Batch, BlobStatus, Medium, PruneAllow, PruneKind, PruneOptions, Store, StoreConfig, Tallies, VerifyOptions,
    Watermarks,
};
use redb::{Database, TableDefinition, WriteTransaction};
use tempfile::TempDir;

use crate::{
    faulty::Disk,
    fixture::{Chain, KZG, Proposal, at, plain_sidecar},
    power::at_every_sync,
};

/// Schema 1, in which rows of sets of heights had no seal.
const UNSEALED_RANGES: TableDefinition<'_, (u8, u64), u64> = TableDefinition::new("ranges");
const SCHEMA_1: &[u8] = include_bytes!("../data/schema-1.redb.zst");

/// Where to leave a store of the schema of this version, for the versions to come.
const SAMPLE: &str = "LAPIS_STORE_SAMPLE";

/// What a sample is about: its decided values, and one that is proposed at the height after them.
pub(crate) struct Sample {
    pub(crate) chain: Chain,
    pub(crate) decided: Vec<Proposal>,
    pub(crate) proposed: Proposal,
}

/// A payload for every height but this one.
const NO_PAYLOAD: u64 = 8;
/// All blobs for every height but these.
const NOT_ALL_BLOBS: [u64; 3] = [7, 9, 10];

/// Fills an empty store with everything that the tables can hold: heights that are imported, archived (with a hole) and
/// pruned, of blobs and of payloads; blobs that several heights name; gaps of both kinds; a proposal of several rounds.
pub(crate) fn fill(store: &Store) -> Sample {
    let mut chain = Chain::new();
    let mut decided = Vec::new();
    for height in 1..=10_u64 {
        // The last blob of a height is also the first of the next.
        let sidecars = (2 * height..=2 * height + 2).map(plain_sidecar).collect();
        let proposal = chain.propose_with(sidecars, 3_000);
        store.mark_decided(&[chain.decide(&proposal)]).unwrap();
        let payloads = if height == NO_PAYLOAD { Vec::new() } else { vec![proposal.payload()] };
        let blobs = proposal.blobs(if NOT_ALL_BLOBS.contains(&height) { 0..2 } else { 0..3 });
        store.insert(Batch { payloads, blobs }).unwrap();
        decided.push(proposal);
    }
    let proposed = chain.propose_with(vec![plain_sidecar(30), plain_sidecar(31), plain_sidecar(22)], 500);
    for round in [0, 3] {
        store.insert_undecided(round, &proposed.value, at(round)).unwrap();
    }
    store.insert(Batch { payloads: vec![proposed.payload()], blobs: proposed.blobs([1]) }).unwrap();
    for height in 1..=6_u64 {
        store.mark_imported(height, Some(&height.to_le_bytes())).unwrap();
    }
    store.mark_archived(1..4).unwrap();
    store.mark_archived(5..6).unwrap();
    let options = PruneOptions { max_heights: NonZeroU64::MIN, ..PruneOptions::default() };
    store.prune_below(2, PruneOptions { kind: PruneKind::BlobsAndPayloads, ..options }).unwrap();
    // The floor is at 4, and the blobs of height 3 are still to be deleted.
    while store.prune_below(4, options).unwrap().heights == 0 {}
    Sample { chain, decided, proposed }
}

/// Everything that a store says and has.
#[derive(Debug, PartialEq)]
struct Contents {
    marks: Watermarks,
    tallies: Tallies,
    gaps: Vec<std::ops::Range<u64>>,
    missing: Vec<(u64, bool, Vec<u64>)>,
    engine_head: Option<Vec<u8>>,
    rounds: Vec<u64>,
    payloads: Vec<bool>,
    blobs: Vec<(bool, BlobStatus)>,
    whole: Vec<bool>,
}

/// What `store` has; all that it has must be right.
fn contents(store: &Store, sample: &Sample) -> Contents {
    let options = VerifyOptions { deep: Some(&KZG), ..VerifyOptions::default() };
    store.verify(options, |_| (), |damage| panic!("{damage}")).unwrap();
    let reader = store.reader().unwrap();
    let (mut payloads, mut blobs, mut whole) = (Vec::new(), Vec::new(), Vec::new());
    for proposal in &sample.decided {
        let height = proposal.height();
        assert_eq!(reader.decided_value(height).unwrap().unwrap().value, **proposal.value.value());
        let payload = reader.payload(height).unwrap();
        assert!(payload.as_ref().is_none_or(|payload| *payload == proposal.envelope));
        payloads.push(payload.is_some());
        for (index, sidecar) in (0..).zip(&proposal.sidecars) {
            let found = reader.sidecar(height, index).unwrap();
            assert!(found.as_ref().is_none_or(|found| found == sidecar));
            let hash = lapis_protocol_spec::versioned_hash(&sidecar.kzg_commitment);
            blobs.push((found.is_some(), reader.blob_status(&hash).unwrap()));
        }
        whole.push(reader.has_height_whole(height).unwrap());
    }
    let missing = store.missing(0..u64::MAX, 99).unwrap().into_iter();
    let undecided = store.get_undecided(sample.proposed.value.id()).unwrap().unwrap();
    assert_eq!((undecided.payload.as_ref(), undecided.missing_blobs), (Some(&sample.proposed.envelope), vec![0, 2]));
    Contents {
        marks: store.watermarks(),
        tallies: store.stats().unwrap().tallies,
        gaps: store.gaps().iter().collect(),
        missing: missing.map(|missing| (missing.height, missing.payload, missing.blobs)).collect(),
        engine_head: store.engine_head().unwrap(),
        rounds: undecided.rounds,
        payloads,
        blobs,
        whole,
    }
}

fn open(path: &Path) -> Store {
    Store::open(path, &Chain::new().genesis, StoreConfig::default()).unwrap()
}

fn open_on(medium: impl Medium) -> Store {
    Store::open_on(Arc::new(medium), &Chain::new().genesis, StoreConfig::default()).unwrap()
}

/// What [`fill`] makes now.
fn new_contents() -> (Sample, Contents) {
    let store = open_on(Disk::default());
    let sample = fill(&store);
    let contents = contents(&store, &sample);
    (sample, contents)
}

/// A store of schema 1, with something changed in it.
fn schema_1(change: impl FnOnce(&WriteTransaction)) -> Vec<u8> {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("store.redb");
    std::fs::write(&path, zstd::decode_all(SCHEMA_1).unwrap()).unwrap();
    let database = Database::open(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    change(&transaction);
    transaction.commit().unwrap();
    drop(database);
    std::fs::read(&path).unwrap()
}

#[test]
fn a_sample_of_this_schema_can_be_made() {
    let directory = TempDir::new().unwrap();
    let path = std::env::var_os(SAMPLE).map_or_else(|| directory.path().join("store.redb"), Into::into);
    fill(&open(&path));
    let marks = open(&path).watermarks();
    assert_eq!((marks.decided, marks.imported, marks.pruned, marks.archived), (10, 6, 3, 3));
}

#[test]
fn a_store_of_schema_1_holds_what_it_held() {
    let (mut sample, expected) = new_contents();
    let disk = Disk::holding(zstd::decode_all(SCHEMA_1).unwrap());
    let store = open_on(disk.clone());
    assert_eq!(contents(&store, &sample), expected);
    drop(store);
    let migrated = disk.bytes();
    let store = open_on(disk.clone());
    assert_eq!(contents(&store, &sample), expected);
    drop(store);
    let recording = Disk::recording_on(migrated);
    drop(open_on(recording.clone()));
    let fresh = Disk::recording_on(disk.bytes());
    drop(open_on(fresh.clone()));
    assert_eq!(recording.journal().len(), fresh.journal().len(), "a migrated store is opened like any other");
    // It goes on: what is missing comes, what is archived may go, and nothing else.
    let store = open_on(disk);
    for proposal in &sample.decided {
        store.insert(proposal.batch()).unwrap();
    }
    store.mark_decided(&[sample.chain.decide(&sample.proposed)]).unwrap();
    store.insert(sample.proposed.batch()).unwrap();
    assert_eq!(store.watermarks().available, 11);
    let archived = PruneOptions { allow: PruneAllow::Archived, ..PruneOptions::default() };
    while !store.prune_below(u64::MAX, archived).unwrap().done {}
    assert_eq!(store.watermarks().pruned, 3, "height 4 is not archived");
    store.mark_archived(4..5).unwrap();
    while !store.prune_below(u64::MAX, archived).unwrap().done {}
    assert_eq!(store.watermarks().pruned, 5);
    store.verify(VerifyOptions::default(), |_| (), |damage| panic!("{damage}")).unwrap();
}

#[test]
fn a_power_loss_at_any_sync_of_the_migration_leaves_one_schema_or_the_other() {
    let (sample, expected) = new_contents();
    let bytes = zstd::decode_all(SCHEMA_1).unwrap();
    let disk = Disk::recording_on(bytes.clone());
    drop(open_on(disk.clone()));
    let points = at_every_sync(bytes, &disk.journal(), |outage| {
        let store = open_on(Disk::holding(outage.bytes));
        assert_eq!(contents(&store, &sample), expected, "at sync {}", outage.points);
    });
    assert!(points >= 2, "{points} syncs");
}

#[test]
fn damaged_rows_without_a_seal_are_told_from_others_or_forgotten() {
    let (sample, expected) = new_contents();
    let gaps_lost = |t: &WriteTransaction| {
        t.open_table(UNSEALED_RANGES).unwrap().retain(|(kind, _), _| kind == 3).unwrap();
    };
    let gaps_wrong = |t: &WriteTransaction| {
        let mut ranges = t.open_table(UNSEALED_RANGES).unwrap();
        ranges.insert((2, 4), u64::MAX).unwrap();
        ranges.insert((1, 8), 8).unwrap();
        ranges.insert((9, 1), 4).unwrap();
    };
    for change in [gaps_lost as fn(&WriteTransaction), gaps_wrong] {
        let store = open_on(Disk::holding(schema_1(change)));
        assert_eq!(contents(&store, &sample), expected);
    }
    // Height 4 was never archived; heights 6 and up can be archived no more than those that do not exist.
    for (start, end) in [(1, 5), (5, 7), (5, u64::MAX), (3, 4), (1, 3)] {
        let wrong = schema_1(|t| drop(t.open_table(UNSEALED_RANGES).unwrap().insert((3, start), end).unwrap()));
        let store = open_on(Disk::holding(wrong));
        let marks = contents(&store, &sample).marks;
        let unchanged = (start, end) == (3, 4);
        assert_eq!(marks.archived, if unchanged { 3 } else { 0 }, "a row from {start} to {end}");
        assert_eq!(marks, Watermarks { archived: marks.archived, ..expected.marks });
        let tallies = store.stats().unwrap().tallies;
        assert_eq!(tallies.blobs.held(), expected.tallies.blobs.held());
        let archived = PruneOptions { allow: PruneAllow::Archived, ..PruneOptions::default() };
        let floor = store.blob_floor();
        while !store.prune_below(u64::MAX, archived).unwrap().done {}
        assert_eq!(store.blob_floor(), floor, "nothing goes that is not archived");
    }
}
