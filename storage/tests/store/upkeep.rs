//! What an operator asks of a store.

use lapis_storage::{Conflict, PruneOptions, StoreError, TableDetail, VerifyOptions};

use crate::{damage::flip, fixture::Bench};

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

#[test]
fn pages_with_damage_are_said_and_nothing_that_was_acknowledged_goes() {
    // A page of a blob that only the last transaction wrote; redb alone would take that back.
    let mut bench = Bench::new();
    bench.whole(&[1, 2]);
    let last = bench.whole(&[3, 4]);
    bench.import_all();
    let mut bench = bench.reopen_after(|path| flip(path, &last.sidecars[1].blob.as_array()[70_000..70_048]));
    let before = (bench.store.watermarks(), bench.store.stats().unwrap().tallies);
    assert!(!bench.store.verify_pages().unwrap());
    assert!(!bench.store.verify_pages().unwrap(), "nothing has changed");
    assert_eq!((bench.store.watermarks(), bench.store.stats().unwrap().tallies), before);
    assert!(bench.store.reader().unwrap().sidecar(2, 0).unwrap().is_some());
    let repaired = bench.store.repair(VerifyOptions::default(), |_| (), |_, _| ()).unwrap();
    assert_eq!((repaired.dropped, repaired.left), (1, 0));
    assert!(bench.store.verify_pages().unwrap(), "the page went with the row");
    bench.store.insert(last.batch()).unwrap();
    assert_eq!(bench.store.watermarks(), before.0);
    bench.whole(&[5]);
    assert!(bench.store.verify_pages().unwrap());
}

#[test]
fn imports_that_are_not_durable_yet_survive_a_look_at_the_pages() {
    let mut bench = Bench::new();
    bench.whole(&[1]);
    bench.store.mark_imported(1, Some(b"head")).unwrap();
    assert!(bench.store.verify_pages().unwrap());
    assert_eq!(bench.store.watermarks().imported, 1);
    assert_eq!(bench.store.engine_head().unwrap().as_deref(), Some(&b"head"[..]));
}
