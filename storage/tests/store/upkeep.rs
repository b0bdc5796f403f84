//! What an operator asks of a store.

use lapis_storage::{Conflict, PruneOptions, StoreError, TableDetail};

use crate::fixture::Bench;

fn blobs_of(height: u64) -> Vec<u64> {
    (height * 6..height * 6 + 6).collect()
}

#[test]
fn tables_say_what_they_take() {
    let mut bench = Bench::new();
    bench.whole(&[1, 2, 2]);
    bench.whole(&[3]);
    let tables = bench.store.tables(TableDetail::Pages).unwrap();
    let rows = |name: &str| tables.iter().find(|table| table.name == name).unwrap().rows;
    assert_eq!((rows("heights"), rows("values"), rows("certificates"), rows("rounds")), (2, 2, 2, 0));
    assert_eq!((rows("places"), rows("blobs"), rows("blob_pieces"), rows("payloads")), (4, 3, 6, 2));
    let stored: u64 = tables.iter().map(|table| table.pages.unwrap().stored_bytes).sum();
    let held = bench.store.stats().unwrap().tallies.blobs.held().bytes;
    assert!(stored > held && stored < held + 64 * 1024, "{stored} bytes for {held}");
    let quick = bench.store.tables(TableDetail::Rows).unwrap();
    assert!(quick.iter().zip(&tables).all(|(quick, table)| quick.rows == table.rows && quick.pages.is_none()));
}

#[test]
fn a_file_is_cut_to_what_it_needs_and_only_when_nobody_reads() {
    let mut bench = Bench::new();
    for height in 0..30 {
        bench.whole(&blobs_of(height));
    }
    bench.import_all();
    while !bench.store.prune_below(28, PruneOptions::default()).unwrap().done {}
    let before = bench.store.stats().unwrap();
    let reader = bench.store.reader().unwrap();
    assert!(matches!(bench.store.compact(), Err(StoreError::Conflict(Conflict::InUse))));
    assert!(matches!(bench.store.verify_pages(), Err(StoreError::Conflict(Conflict::InUse))));
    drop(reader);
    assert!(bench.store.verify_pages().unwrap());
    assert!(bench.store.compact().unwrap());
    assert!(bench.store.verify_pages().unwrap());
    let after = bench.store.stats().unwrap();
    assert_eq!((after.tallies, after.watermarks), (before.tallies, before.watermarks));
    assert!(after.allocated_bytes < before.allocated_bytes / 4, "{before:?} {after:?}");
    assert!(bench.store.reader().unwrap().sidecar(30, 5).unwrap().is_some());
    bench.whole(&blobs_of(30));
}
