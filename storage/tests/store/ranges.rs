//! Damaged rows of sets of heights: said, told from other rows, or forgotten, and never taken for an archive.

use std::sync::Arc;

use lapis_storage::{
    Batch, Damage, Fate, PruneAllow, PruneOptions, Store, StoreConfig, StoreError, TableName, VerifyOptions,
};
use redb::{Database, ReadableTable, TableDefinition, WriteTransaction};

use crate::{
    faulty::Disk,
    fixture::{Bench, Chain, Proposal},
};

const RANGES: TableDefinition<'_, (u8, u64), &[u8]> = TableDefinition::new("ranges");
const PAYLOAD_GAPS: u8 = 1;
const BLOB_GAPS: u8 = 2;
const ARCHIVED: u8 = 3;
const ARCHIVED_ONLY: PruneOptions = PruneOptions {
    kind: lapis_storage::PruneKind::Blobs,
    allow: PruneAllow::Archived,
    max_heights: std::num::NonZeroU64::MIN,
    max_blobs: std::num::NonZeroU64::MIN,
};

/// Eight heights, of which 1 to 4 are imported and archived, 5 lacks its payload and 7 a blob.
fn bench() -> Bench {
    let mut bench = Bench::new();
    for height in 1..=8 {
        let proposal = bench.decided(&[2 * height, 2 * height + 1]);
        let payloads = if height == 5 { Vec::new() } else { vec![proposal.payload()] };
        let blobs = proposal.blobs(if height == 7 { 0..1 } else { 0..2 });
        bench.store.insert(Batch { payloads, blobs }).unwrap();
    }
    bench.import_all();
    bench.store.mark_archived(1..5).unwrap();
    bench
}

fn change(bench: Bench, change: impl FnOnce(&WriteTransaction)) -> Bench {
    bench.reopen_after(|path| {
        let database = Database::open(path).unwrap();
        let transaction = database.begin_write().unwrap();
        change(&transaction);
        transaction.commit().unwrap();
    })
}

/// Flips a bit in the row that begins at `start`.
fn flip(transaction: &WriteTransaction, kind: u8, start: u64) {
    let mut ranges = transaction.open_table(RANGES).unwrap();
    let mut row = ranges.get((kind, start)).unwrap().unwrap().value().to_vec();
    row[0] ^= 32;
    ranges.insert((kind, start), row.as_slice()).unwrap();
}

fn verify(store: &Store) -> Vec<Damage> {
    let mut found = Vec::new();
    let last = store.verify(VerifyOptions::default(), |_| (), |damage| found.push(damage)).unwrap();
    assert_eq!(last.damages, found.len() as u64);
    found
}

const fn ranges(height: u64) -> Damage {
    Damage { table: TableName::Ranges, height, index: 0 }
}

fn gaps(store: &Store) -> Vec<std::ops::Range<u64>> {
    store.gaps().iter().collect()
}

#[test]
fn gaps_with_a_damaged_row_are_told_from_other_rows_when_the_store_opens() {
    for (kind, start) in [(PAYLOAD_GAPS, 5), (BLOB_GAPS, 7)] {
        let bench = bench();
        let before = (bench.store.watermarks(), bench.store.missing(0..99, 99).unwrap());
        let bench = change(bench, |transaction| flip(transaction, kind, start));
        assert_eq!((bench.store.watermarks(), bench.store.missing(0..99, 99).unwrap()), before);
        assert_eq!(gaps(&bench.store), [5..6, 7..8]);
        assert_eq!(verify(&bench.store), [ranges(start)], "it is said");
        assert_eq!(verify(&bench.store), [], "once");
        let bench = bench.reopen_after(|_| ());
        assert_eq!(verify(&bench.store), [], "it was written again");
        assert_eq!(gaps(&bench.store), [5..6, 7..8]);
    }
}

#[test]
fn an_archived_row_that_is_damaged_is_forgotten_and_nothing_is_pruned() {
    let flip_end = |transaction: &WriteTransaction| flip(transaction, ARCHIVED, 1);
    let flip_key = |transaction: &WriteTransaction| {
        // Nothing says whose row it is.
        let mut table = transaction.open_table(RANGES).unwrap();
        let row = table.remove((ARCHIVED, 1)).unwrap().unwrap().value().to_vec();
        table.insert((ARCHIVED ^ 64, 1), row.as_slice()).unwrap();
    };
    for damage in [flip_end as fn(&WriteTransaction), flip_key] {
        let bench = bench();
        let tallies = bench.store.stats().unwrap().tallies;
        assert_eq!(tallies.blobs.archived.count, 8);
        let bench = change(bench, damage);
        assert_eq!(bench.store.watermarks().archived, 0);
        let now = bench.store.stats().unwrap().tallies;
        assert_eq!((now.blobs.archived.count, now.blobs.held()), (0, tallies.blobs.held()));
        assert!(bench.store.prune_below(u64::MAX, ARCHIVED_ONLY).unwrap().done);
        assert_eq!(bench.store.watermarks().pruned, 0);
        assert!(bench.store.reader().unwrap().sidecar(1, 0).unwrap().is_some());
        let mut mended = Vec::new();
        let repaired = bench.store.repair(VerifyOptions::default(), |_| (), |damage, fate| mended.push((damage, fate)));
        assert_eq!((repaired.unwrap().dropped, mended), (1, vec![(ranges(1), Fate::Dropped)]));
        assert_eq!(verify(&bench.store), []);
        // Marked again, they may go.
        bench.store.mark_archived(1..3).unwrap();
        while !bench.store.prune_below(u64::MAX, ARCHIVED_ONLY).unwrap().done {}
        assert_eq!(bench.store.watermarks().pruned, 2);
        assert!(bench.store.reader().unwrap().sidecar(3, 0).unwrap().is_some());
    }
}

#[test]
fn a_row_of_archived_heights_that_is_gone_is_no_archive() {
    let bench = bench();
    let bench = change(bench, |transaction| {
        drop(transaction.open_table(RANGES).unwrap().remove((ARCHIVED, 1)).unwrap());
    });
    assert!(bench.store.prune_below(u64::MAX, ARCHIVED_ONLY).unwrap().done);
    assert_eq!(bench.store.watermarks().pruned, 0);
    let wrong_counts = Damage { table: TableName::Meta, height: 0, index: 0 };
    assert_eq!(verify(&bench.store), [wrong_counts]);
    bench.store.repair(VerifyOptions::default(), |_| (), |_, _| ()).unwrap();
    assert_eq!(verify(&bench.store), []);
}

/// A store on a disk in memory that reads everything from there, with a whole height that is archived and one that lacks
/// a blob.
fn store_on(disk: &Disk) -> (Store, Proposal) {
    let mut chain = Chain::new();
    let config = StoreConfig { cache_bytes: 0, ..StoreConfig::default() };
    let store = Store::open_on(Arc::new(disk.clone()), &chain.genesis, config).unwrap();
    let (first, decided) = chain.next(&[1, 2]);
    store.mark_decided(&[decided]).unwrap();
    store.insert(first.batch()).unwrap();
    store.mark_imported(1, None).unwrap();
    store.mark_archived(1..2).unwrap();
    let (second, decided) = chain.next(&[3]);
    store.mark_decided(&[decided]).unwrap();
    store.insert(Batch { payloads: vec![second.payload()], ..Batch::default() }).unwrap();
    (store, second)
}

#[test]
fn a_row_that_is_damaged_while_the_store_is_open_is_said_and_written_again() {
    let disk = Disk::default();
    let (store, second) = store_on(&disk);
    for (kind, range) in [(ARCHIVED, 1..2_u64), (BLOB_GAPS, 2..3)] {
        // The row as it lies in the file: an end with its seal.
        let key = xxhash_rust::xxh3::xxh3_64_with_seed(&range.start.to_le_bytes(), kind.into());
        let end = range.end.to_le_bytes();
        let row = [end, xxhash_rust::xxh3::xxh3_64_with_seed(&end, key).to_le_bytes()].concat();
        assert!(disk.flip(&row) > 0);
        let reader = store.reader().unwrap();
        let error = match kind {
            ARCHIVED => reader.blob_status(&second.hash(0)).map(drop).err().or_else(|| {
                let first = reader.identified_value(1).unwrap().unwrap();
                let hash = first.value().versioned_hashes().next().unwrap();
                reader.blob_status(&hash).err()
            }),
            _ => reader.has_blobs_whole(2).err(),
        };
        let Some(StoreError::Damaged(damage)) = error else { panic!("{error:?}") };
        assert_eq!(damage.table, TableName::Ranges);
        drop(reader);
        assert_eq!(verify(&store), [ranges(range.start)]);
        assert_eq!(store.missing(0..9, 9).unwrap()[0].blobs, [0], "what is missing is known all the same");
        assert!(store.discard_damaged(&damage).unwrap());
        assert!(!store.discard_damaged(&damage).unwrap());
        assert_eq!(verify(&store), []);
        assert!(disk.flip(&row) > 0);
        let mut mended = Vec::new();
        store.repair(VerifyOptions::default(), |_| (), |damage, fate| mended.push((damage, fate))).unwrap();
        assert_eq!(mended, [(ranges(range.start), Fate::MadeAgain)]);
        assert_eq!(store.watermarks().archived, 1, "memory knows what the rows said");
        assert!(store.gaps().iter().eq(std::iter::once(2..3)));
    }
    store.insert(second.batch()).unwrap();
    assert_eq!((verify(&store), gaps(&store)), (vec![], vec![]));
}
