//! Stage one: decided values.

use lapis_protocol_spec::{ChainLink, HeightRanges, IdentifiedValue};
use lapis_storage::{BlobStatus, Conflict, Dropped, StoreError, Watermarks};

use crate::fixture::{Bench, Chain, at};

#[test]
fn a_new_store_starts_at_genesis() {
    let bench = Bench::new();
    assert_eq!(bench.store.watermarks(), Watermarks::default());
    assert_eq!(bench.store.tip().unwrap(), ChainLink::genesis(&bench.chain.genesis));
    let root = bench.chain.set.root();
    assert_eq!(bench.store.validator_set(&root).unwrap(), Some(bench.chain.set.clone()));
    assert_eq!(bench.store.validator_set(&[9; 32].into()).unwrap(), None);
}

#[test]
fn decided_values_come_back_as_they_were() {
    let mut bench = Bench::new();
    let mut batch = Vec::new();
    for seeds in [&[1_u64, 2][..], &[], &[3]] {
        batch.push(bench.chain.next(seeds).1);
    }
    let decided = bench.store.mark_decided(&batch).unwrap();
    assert_eq!(decided.watermarks.decided, 3);
    assert_eq!(decided.watermarks.available, 0);
    assert_eq!(decided.watermarks.earliest_value, 1);
    assert_eq!(bench.store.tip().unwrap(), bench.chain.tip);
    assert_eq!(bench.store.gaps(), std::iter::once(1..4).collect::<HeightRanges>());
    let reader = bench.store.reader().unwrap();
    for value in &batch {
        assert_eq!(reader.decided_value(value.height()).unwrap().as_ref(), Some(&**value));
        assert_eq!(reader.identified_value(value.height()).unwrap(), Some(IdentifiedValue::from(value)));
        assert_eq!(reader.value_height(value.value_id()).unwrap(), Some(value.height()));
    }
    assert_eq!(reader.decided_value(4).unwrap(), None);
}

#[test]
fn a_gap_a_repetition_and_a_broken_link_are_refused_whole() {
    let mut bench = Bench::new();
    let (_, first) = bench.chain.next(&[]);
    let (_, second) = bench.chain.next(&[]);
    let conflict = |result: Result<_, StoreError>| match result {
        Err(StoreError::Conflict(Conflict::NotNext { height, .. })) => height,
        other => panic!("{other:?}"),
    };
    assert_eq!(conflict(bench.store.mark_decided(std::slice::from_ref(&second))), 2);
    assert_eq!(conflict(bench.store.mark_decided(&[first.clone(), first.clone()])), 1);
    assert_eq!(bench.store.watermarks().decided, 0, "nothing of a refused batch is kept");
    bench.store.mark_decided(&[first]).unwrap();
    let mut fork = Chain::new();
    fork.decide(&fork.propose(&[77], 10));
    let (_, other_second) = fork.next(&[]);
    assert_eq!(conflict(bench.store.mark_decided(&[other_second])), 2);
    bench.store.mark_decided(&[second]).unwrap();
}

#[test]
fn promotion_makes_a_held_value_available_at_once() {
    let mut bench = Bench::new();
    let proposal = bench.chain.propose(&[1, 2], 5000);
    bench.store.insert_undecided(0, &proposal.value, at(0)).unwrap();
    bench.store.insert(proposal.batch()).unwrap();
    assert_eq!(bench.store.blob_status(&proposal.hash(0)).unwrap(), BlobStatus::Undecided);
    let decided = bench.store.mark_decided(&[bench.chain.decide(&proposal)]).unwrap();
    assert_eq!((decided.promoted, decided.watermarks.available), (1, 1));
    assert_eq!(bench.store.blob_status(&proposal.hash(0)).unwrap(), BlobStatus::Decided);
    assert!(bench.store.gaps().is_empty());
    assert!(bench.store.get_undecided(proposal.value.id()).unwrap().is_none());
    let stats = bench.store.stats().unwrap().tallies;
    assert_eq!((stats.blobs.undecided.count, stats.blobs.decided.count), (0, 2));
    assert_eq!((stats.values_undecided.count, stats.values_undecided.bytes, stats.values_decided.count), (0, 0, 1));
    assert_eq!(stats.undecided_bytes(), 0);
}

#[test]
fn promotion_with_a_missing_blob_names_it_and_waits_for_it() {
    let mut bench = Bench::new();
    let proposal = bench.chain.propose(&[1, 2, 3, 4, 5, 6], 100);
    bench.store.insert_undecided(0, &proposal.value, at(0)).unwrap();
    let mut batch = proposal.batch();
    batch.blobs.remove(2);
    bench.store.insert(batch).unwrap();
    let decided = bench.store.mark_decided(&[bench.chain.decide(&proposal)]).unwrap();
    assert_eq!((decided.watermarks.decided, decided.watermarks.available), (1, 0));
    let missing = bench.store.missing(1..10, 10).unwrap();
    assert_eq!(missing.len(), 1);
    assert_eq!((missing[0].height, missing[0].payload, &missing[0].blobs), (1, false, &vec![2]));
    assert_eq!(missing[0].value, proposal.value);
    assert_eq!(bench.store.get_for_import(1).unwrap(), None);
    assert_eq!(bench.store.blob_status(&proposal.hash(2)).unwrap(), BlobStatus::Awaited);
    let mut batch = proposal.batch();
    batch.payloads.clear();
    batch.blobs = vec![batch.blobs.remove(2)];
    let inserted = bench.store.insert(batch).unwrap();
    assert_eq!(inserted.newly_available, 1..2);
}

#[test]
fn losing_rounds_go_with_their_data_also_the_proposers_own() {
    let mut bench = Bench::new();
    // The proposer of round 0 holds all of its own value; blob 2 is also in the value that wins.
    let own = bench.chain.propose(&[1, 2], 3000);
    let winner = bench.chain.propose(&[2, 3], 100);
    for (round, proposal) in [(0, &own), (1, &winner)] {
        bench.store.insert_undecided(round, &proposal.value, at(0)).unwrap();
        bench.store.insert(proposal.batch()).unwrap();
    }
    let decided = bench.store.mark_decided(&[bench.chain.decide(&winner)]).unwrap();
    let Dropped { values, payloads, blobs, .. } = decided.dropped;
    assert_eq!((values, payloads, blobs), (1, 1, 1));
    assert_eq!(bench.store.blob_status(&own.hash(0)).unwrap(), BlobStatus::Unknown);
    assert_eq!(bench.store.blob_status(&own.hash(1)).unwrap(), BlobStatus::Decided);
    let reader = bench.store.reader().unwrap();
    assert_eq!(reader.value_height(own.value.id()).unwrap(), None);
    assert_eq!(reader.payload_by_id(own.value.id()).unwrap(), None);
    assert_eq!(reader.payload_by_id(winner.value.id()).unwrap(), Some(winner.envelope.clone()));
    assert_eq!(bench.store.stats().unwrap().tallies.undecided_bytes(), 0);
}

#[test]
fn a_checkpoint_is_a_start_like_genesis() {
    let mut bench = Bench::new();
    let mut history = Chain::new();
    for _ in 0..9 {
        history.next(&[]);
    }
    let set = history.set.clone();
    let other = bench.store.start_from(&history.tip, &history.other_set(), None);
    assert!(matches!(other, Err(StoreError::Conflict(Conflict::OtherSet(_)))));
    let marks = bench.store.start_from(&history.tip, &set, Some(b"head")).unwrap();
    assert_eq!(bench.store.validator_set(&set.root()).unwrap().as_ref(), Some(&set));
    assert_eq!(bench.store.engine_head().unwrap().as_deref(), Some(&b"head"[..]));
    assert_eq!((marks.pruned, marks.imported, marks.available, marks.decided), (9, 9, 9, 9));
    assert_eq!(marks.earliest_value, 0);
    bench.chain = history;
    let proposal = bench.whole(&[1]);
    let marks = bench.store.watermarks();
    assert_eq!((marks.decided, marks.available), (10, 10));
    assert_eq!((marks.earliest_value, marks.earliest_payload, marks.earliest_blob), (10, 10, 10));
    bench.store.mark_imported(10, None).unwrap();
    let tip = bench.chain.tip;
    assert!(matches!(bench.store.start_from(&tip, &set, None), Err(StoreError::Conflict(Conflict::NotEmpty))));
    let bench = bench.reopen_after(|_| ());
    assert_eq!(bench.store.watermarks().imported, 10);
    assert_eq!(bench.store.reader().unwrap().sidecar(10, 0).unwrap().as_ref(), Some(&proposal.sidecars[0]));
}

#[test]
fn many_values_of_many_blobs_are_decided_by_one_call() {
    let mut bench = Bench::new();
    let blobs: Vec<_> = std::iter::repeat_n(crate::fixture::sidecar(1), 1024).collect();
    let values: Vec<_> = (0..18)
        .map(|_| {
            let proposal = bench.chain.propose_with(blobs.clone(), 10);
            bench.chain.decide(&proposal)
        })
        .collect();
    let mut gap = values.clone();
    gap.remove(17 - 1);
    assert!(matches!(bench.store.mark_decided(&gap), Err(StoreError::Conflict(Conflict::NotNext { height: 18, .. }))));
    assert_eq!(bench.store.watermarks().decided, 0, "nothing is kept of what does not attach");
    assert_eq!(bench.store.mark_decided(&values).unwrap().watermarks.decided, 18);
    assert_eq!(bench.store.stats().unwrap().tallies.values_decided.count, 18);
}
