//! Pruning: bounded, complete, and no more than allowed.

use std::num::NonZeroU64;

use lapis_storage::{Batch, BlobStatus, PruneAllow, PruneKind, PruneOptions, Pruned, VerifyOptions};

use crate::fixture::{Bench, assert_in_order, at};

fn steps_of(heights: u64) -> PruneOptions {
    PruneOptions { max_heights: NonZeroU64::new(heights).unwrap(), ..PruneOptions::default() }
}

fn prune_all(bench: &Bench, floor: u64, options: PruneOptions) -> Vec<Pruned> {
    let mut steps = Vec::new();
    loop {
        let step = bench.store.prune_below(floor, options).unwrap();
        assert_in_order(&bench.store);
        steps.push(step);
        if step.done {
            return steps;
        }
    }
}

#[test]
fn pruning_goes_in_bounded_steps_and_tells_pruned_from_unknown() {
    let mut bench = Bench::new();
    let proposals: Vec<_> = (1..=7).map(|seed| bench.whole(&[seed, 100 + seed])).collect();
    bench.import_all();
    let steps = prune_all(&bench, 6, steps_of(2));
    assert_eq!(steps.iter().map(|step| step.heights).collect::<Vec<_>>(), [2, 2, 1]);
    assert_eq!(steps.iter().map(|step| step.blobs).sum::<u64>(), 10);
    let marks = bench.store.watermarks();
    assert_eq!((marks.pruned, marks.earliest_blob, marks.earliest_payload, marks.earliest_value), (5, 6, 1, 1));
    assert_eq!(marks.available, 7, "what is below the floor is not missing");
    assert!(bench.store.gaps().is_empty());
    let reader = bench.store.reader().unwrap();
    assert_eq!(reader.sidecar(5, 0).unwrap(), None);
    assert!(reader.sidecar(6, 0).unwrap().is_some());
    assert!(!reader.has_height_whole(5).unwrap() && reader.has_height_whole(6).unwrap());
    assert!(reader.payload(5).unwrap().is_some() && reader.decided_value(5).unwrap().is_some());
    assert_eq!(bench.store.blob_status(&proposals[4].hash(0)).unwrap(), BlobStatus::Pruned);
    assert_eq!(bench.store.blob_status(&proposals[5].hash(0)).unwrap(), BlobStatus::Decided);
    let tallies = bench.store.stats().unwrap().tallies;
    assert_eq!((tallies.blobs.decided.count, tallies.blobs.pruned.count), (4, 10));
    // Fetched again by mistake: not kept, and no reason to fetch once more.
    let inserted = bench.store.insert(proposals[0].batch()).unwrap();
    assert_eq!((inserted.blobs, inserted.below_floor, inserted.duplicates), (0, 2, 1));
    assert_eq!(prune_all(&bench, 3, steps_of(9)), [Pruned { done: true, ..Pruned::default() }], "floors stay");
    assert_eq!(bench.store.watermarks().pruned, 5);
}

#[test]
fn the_floor_moves_before_the_last_rows_go() {
    let mut bench = Bench::new();
    let proposals: Vec<_> = (1..=4).map(|seed| bench.whole(&[seed])).collect();
    bench.import_all();
    let step = bench.store.prune_below(4, steps_of(1)).unwrap();
    assert_eq!((step.blobs, step.done), (1, false));
    assert_eq!(bench.store.watermarks().pruned, 3);
    assert_eq!(bench.store.reader().unwrap().sidecar(3, 0).unwrap(), None, "not served though still there");
    assert_eq!(bench.store.blob_status(&proposals[2].hash(0)).unwrap(), BlobStatus::Pruned);
    let bench = bench.reopen_after(|_| ());
    assert_eq!(prune_all(&bench, 0, steps_of(1)).len(), 2, "pruning goes on where it stopped");
    assert_eq!(bench.store.stats().unwrap().tallies.blobs.held().count, 1);
}

#[test]
fn nothing_goes_that_is_not_imported_or_not_archived() {
    let mut bench = Bench::new();
    for seed in 1..=5 {
        bench.whole(&[seed]);
    }
    assert_eq!(bench.store.prune_below(5, PruneOptions::default()).unwrap().blobs, 0);
    for height in 1..=3 {
        bench.store.mark_imported(height, None).unwrap();
    }
    bench.store.mark_archived(1..2).unwrap();
    let archived = PruneOptions { allow: PruneAllow::Archived, ..PruneOptions::default() };
    assert_eq!(bench.store.prune_below(u64::MAX, archived).unwrap().heights, 1);
    assert_eq!(bench.store.watermarks().pruned, 1);
    assert_eq!(bench.store.prune_below(u64::MAX, PruneOptions::default()).unwrap().heights, 2);
    let marks = bench.store.watermarks();
    assert_eq!((marks.pruned, marks.imported), (3, 3));
    assert_eq!(bench.store.stats().unwrap().tallies.blobs.pruned.count, 3);
}

#[test]
fn a_blob_that_a_kept_height_needs_survives() {
    let mut bench = Bench::new();
    let first = bench.whole(&[1, 2, 3]);
    bench.whole(&[2]);
    let proposed = bench.chain.propose(&[3], 10);
    bench.store.insert_undecided(0, &proposed.value, at(0)).unwrap();
    bench.import_all();
    let step = bench.store.prune_below(2, PruneOptions::default()).unwrap();
    assert_eq!(step.blobs, 1);
    let status = |index| bench.store.blob_status(&first.hash(index)).unwrap();
    assert_eq!([status(0), status(1), status(2)], [BlobStatus::Pruned, BlobStatus::Decided, BlobStatus::Undecided]);
    assert!(bench.store.get_undecided(proposed.value.id()).unwrap().unwrap().missing_blobs.is_empty());
    let tallies = bench.store.stats().unwrap().tallies.blobs;
    assert_eq!((tallies.undecided.count, tallies.decided.count, tallies.pruned.count), (1, 1, 1));
}

#[test]
fn payloads_go_where_that_is_asked() {
    let mut bench = Bench::new();
    let first = bench.whole(&[1]);
    bench.whole(&[2]);
    bench.import_all();
    let options = PruneOptions { kind: PruneKind::BlobsAndPayloads, ..PruneOptions::default() };
    let step = bench.store.prune_below(2, options).unwrap();
    assert_eq!((step.blobs, step.payloads, step.done), (1, 1, true));
    let reader = bench.store.reader().unwrap();
    assert_eq!(reader.payload(1).unwrap(), None);
    assert_eq!(reader.payload_by_id(first.value.id()).unwrap(), None);
    assert!(reader.decided_value(1).unwrap().is_some());
    assert_eq!(bench.store.watermarks().earliest_payload, 2);
    let payloads = vec![first.payload()];
    assert_eq!(bench.store.insert(Batch { payloads, ..Batch::default() }).unwrap().below_floor, 1);
    assert!(bench.store.gaps().is_empty());
}

#[test]
fn a_reader_keeps_its_snapshot_while_pruning_goes_on() {
    let mut bench = Bench::new();
    let proposals: Vec<_> = (1..=6).map(|seed| bench.whole(&[seed])).collect();
    bench.import_all();
    let reader = bench.store.reader().unwrap();
    std::thread::scope(|scope| {
        let reading = scope.spawn(|| {
            for _ in 0..50 {
                for proposal in &proposals {
                    let found = reader.sidecar(proposal.height(), 0).unwrap();
                    assert_eq!(found.as_ref(), Some(&proposal.sidecars[0]));
                }
            }
        });
        prune_all(&bench, 6, steps_of(1));
        reading.join().unwrap();
    });
    assert!(reader.sidecar(1, 0).unwrap().is_some());
    assert_eq!(bench.store.reader().unwrap().sidecar(1, 0).unwrap(), None);
}

#[test]
fn heights_given_up_before_archiving_began_do_not_hold_pruning_up() {
    let mut bench = Bench::new();
    for seed in 1..=5 {
        bench.whole(&[seed]);
    }
    bench.import_all();
    prune_all(&bench, 3, PruneOptions::default());
    bench.store.mark_archived(3..5).unwrap();
    let archived = PruneOptions { allow: PruneAllow::Archived, ..PruneOptions::default() };
    assert_eq!(prune_all(&bench, u64::MAX, archived).iter().map(|step| step.blobs).sum::<u64>(), 2);
    assert_eq!(bench.store.watermarks().pruned, 4);
    // Payloads of the first heights are neither archived nor given up.
    let payloads = PruneOptions { kind: PruneKind::BlobsAndPayloads, ..archived };
    prune_all(&bench, u64::MAX, payloads);
    assert_eq!(bench.store.watermarks().earliest_payload, 1);
}

#[test]
fn a_height_of_many_blobs_goes_in_bounded_steps_like_many_heights() {
    let mut bench = Bench::new();
    // Two blobs of the first height are in the third, too, and one is in the first twice.
    bench.whole(&[1, 2, 3, 4, 5, 6, 6, 7]);
    bench.whole(&[10]);
    bench.whole(&[2, 5]);
    bench.import_all();
    let options = PruneOptions { max_blobs: NonZeroU64::new(2).unwrap(), ..PruneOptions::default() };
    let mut steps = Vec::new();
    loop {
        let step = bench.store.prune_below(3, options).unwrap();
        steps.push((step.heights, step.blobs));
        let tallies = bench.store.stats().unwrap().tallies.blobs;
        let pruned = steps.iter().map(|(_, blobs)| blobs).sum::<u64>();
        assert_eq!((tallies.decided.count, tallies.pruned.count), (8 - pruned, pruned));
        bench.store.verify(VerifyOptions::default(), |_| (), |damage| panic!("{damage}")).unwrap();
        assert_eq!(bench.store.reader().unwrap().sidecar(1, 0).unwrap(), None, "the floor moved first");
        if step.done {
            break;
        }
        bench = bench.reopen_after(|_| ());
    }
    assert_eq!(steps, [(0, 2), (0, 2), (2, 2)]);
    let reader = bench.store.reader().unwrap();
    assert!(reader.sidecar(3, 0).unwrap().is_some() && reader.sidecar(3, 1).unwrap().is_some());
}
