//! Import and archiving.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use lapis_storage::{Batch, BlobStatus, Conflict, Store, StoreConfig, StoreError};

use crate::{
    faulty::Disk,
    fixture::{Bench, Chain, Proposal, assert_in_order, at},
};

#[test]
fn imports_go_up_and_only_over_whole_heights() {
    let mut bench = Bench::new();
    bench.whole(&[1]);
    bench.decided(&[2]);
    let conflict = |height| match bench.store.mark_imported(height, None) {
        Err(StoreError::Conflict(conflict)) => conflict,
        other => panic!("{other:?}"),
    };
    assert_eq!(conflict(2), Conflict::NotAvailable { height: 2, available: 1 });
    assert_eq!(conflict(0), Conflict::NotNextImport { height: 0, expected: 1 });
    assert_eq!(bench.store.mark_imported(1, Some(b"first")).unwrap().imported, 1);
    assert_eq!(conflict(2), Conflict::NotAvailable { height: 2, available: 1 });
    assert_eq!(conflict(1), Conflict::NotNextImport { height: 1, expected: 2 });
    assert_eq!(bench.store.engine_head().unwrap().as_deref(), Some(&b"first"[..]));
    bench.store.flush().unwrap();
    let bench = bench.reopen_after(|_| ());
    assert_eq!(bench.store.watermarks().imported, 1);
    assert_eq!(bench.store.engine_head().unwrap().as_deref(), Some(&b"first"[..]));
}

#[test]
fn several_heights_are_imported_at_once() {
    let mut bench = Bench::new();
    for seed in 1..=5 {
        bench.whole(&[seed]);
    }
    assert_eq!(bench.store.mark_imported(4, Some(b"fourth")).unwrap().imported, 4);
    assert_eq!(bench.store.engine_head().unwrap().as_deref(), Some(&b"fourth"[..]));
    assert_eq!(bench.store.mark_imported(5, None).unwrap().imported, 5);
    assert_in_order(&bench.store);
}

#[test]
fn archived_blobs_are_counted_as_such() {
    let mut bench = Bench::new();
    let first = bench.whole(&[1, 2]);
    bench.whole(&[2, 3]);
    let third = bench.decided(&[4]);
    let marks = bench.store.mark_archived(1..2).unwrap();
    assert_eq!(marks.archived, 1);
    assert_eq!(bench.store.blob_status(&first.hash(0)).unwrap(), BlobStatus::Archived);
    assert_eq!(bench.store.blob_status(&first.hash(1)).unwrap(), BlobStatus::Decided, "height 2 needs it");
    let Err(StoreError::Conflict(conflict)) = bench.store.mark_archived(2..4) else { panic!("archived") };
    assert_eq!(conflict, Conflict::NotAvailable { height: 3, available: 2 });
    assert_eq!(bench.store.mark_archived(1..3).unwrap().archived, 2);
    assert_eq!(bench.store.blob_status(&first.hash(1)).unwrap(), BlobStatus::Archived);
    let tallies = bench.store.stats().unwrap().tallies;
    assert_eq!((tallies.blobs.archived.count, tallies.payloads.archived.count), (3, 2));
    bench.store.insert(third.batch()).unwrap();
    bench.store.insert_undecided(0, &bench.chain.propose(&[1], 1).value, at(0)).unwrap();
    assert_eq!(bench.store.blob_status(&first.hash(0)).unwrap(), BlobStatus::Archived);
    bench.decided(&[1]);
    assert_eq!(bench.store.blob_status(&first.hash(0)).unwrap(), BlobStatus::Decided, "a later height needs it");
    assert_in_order(&bench.store);
}

#[test]
fn heights_without_their_blobs_go_on_when_policy_waives_them() {
    let mut bench = Bench::new();
    let proposals: Vec<_> = (1..=4).map(|seed| bench.decided(&[seed])).collect();
    for proposal in &proposals {
        let payloads = vec![proposal.payload()];
        bench.store.insert(Batch { payloads, ..Default::default() }).unwrap();
    }
    assert_eq!(bench.store.watermarks().available, 0);
    let marks = bench.store.waive_blobs_below(3).unwrap();
    assert_eq!((marks.available, marks.pruned, marks.earliest_blob), (2, 0, 0));
    assert!(bench.store.get_for_import(2).unwrap().is_some());
    assert!(!bench.store.reader().unwrap().has_height_whole(2).unwrap());
    assert_eq!(bench.store.blob_status(&proposals[0].hash(0)).unwrap(), BlobStatus::Pruned);
    bench.import_all();
    assert_eq!(bench.store.watermarks().pruned, 2);
    bench.store.insert(proposals[2].batch()).unwrap();
    bench.store.insert(proposals[3].batch()).unwrap();
    bench.import_all();
    let marks = bench.store.watermarks();
    assert_eq!((marks.imported, marks.available, marks.earliest_blob), (4, 4, 3));
    assert_in_order(&bench.store);
}

#[test]
fn many_heights_are_archived_in_transactions_of_bounded_size() {
    const HEIGHTS: u64 = 1100;
    let disk = Disk::recording();
    let mut chain = Chain::new();
    let store = Store::open_on(Arc::new(disk.clone()), &chain.genesis, StoreConfig::default()).unwrap();
    let (proposals, decided): (Vec<_>, Vec<_>) = (0..HEIGHTS).map(|_| chain.next(&[])).unzip();
    store.mark_decided(&decided).unwrap();
    let payloads = proposals.iter().map(Proposal::payload).collect();
    store.insert(Batch { payloads, ..Batch::default() }).unwrap();
    let before = disk.syncs();
    store.mark_archived(1..2).unwrap();
    let one = disk.syncs() - before;
    assert_eq!(store.mark_archived(1..HEIGHTS + 1).unwrap().archived, HEIGHTS);
    assert_eq!(disk.syncs() - before, 3 * one, "two transactions for those that were left");
    store.mark_archived(5..900).unwrap();
    assert_eq!(disk.syncs() - before, 3 * one, "nothing is written about heights that are archived already");
    assert_eq!(store.stats().unwrap().tallies.payloads.archived.count, HEIGHTS);
}

#[test]
fn what_is_forgotten_of_the_archive_is_to_be_archived_again_and_counts_as_before() {
    let mut bench = Bench::new();
    [&[1, 2][..], &[2, 3], &[], &[4], &[1], &[5, 5]].iter().for_each(|seeds| drop(bench.whole(seeds)));
    let before = bench.store.stats().unwrap().tallies;
    bench.store.mark_archived(1..7).unwrap();
    assert_eq!(bench.store.forget_archived(3..5).unwrap().archived, 2);
    assert_eq!(bench.store.unarchived().iter().flatten().collect::<Vec<_>>(), [3, 4]);
    assert_eq!(bench.store.forget_archived(0..u64::MAX).unwrap().archived, 0);
    assert_eq!(bench.store.stats().unwrap().tallies, before);
    assert_in_order(&bench.store);
}

#[test]
fn whoever_waits_to_write_comes_before_who_has_just_written() {
    let bench = Bench::new();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Writes again and again for as long as the others have not had their turns.
        scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                bench.store.flush().unwrap();
            }
        });
        let others: Vec<_> =
            (0..3).map(|_| scope.spawn(|| (0..10).for_each(|_| bench.store.flush().unwrap()))).collect();
        let results: Vec<_> = others.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
        done.store(true, Ordering::Release);
        assert!(results.iter().all(Result::is_ok));
    });
}
