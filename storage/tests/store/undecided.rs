//! Proposed values: by content, bounded, and gone when they lose.

use std::time::Duration;

use lapis_storage::{Batch, BlobStatus, Conflict, StoreConfig, StoreError};

use crate::fixture::{Bench, Proposal, at};

#[test]
fn bad_data_cannot_occupy_a_round() {
    let bench = Bench::new();
    // Two values for the same height and round, as an equivocating proposer makes them.
    let first = bench.chain.propose(&[1], 10);
    let second = bench.chain.propose(&[2], 10);
    for proposal in [&first, &second] {
        bench.store.insert_undecided(0, &proposal.value, at(0)).unwrap();
        bench.store.insert(proposal.batch()).unwrap();
    }
    for proposal in [&first, &second] {
        let held = bench.store.get_undecided(proposal.value.id()).unwrap().unwrap();
        assert_eq!((held.rounds, held.payload.as_ref()), (vec![0], Some(&proposal.envelope)));
        assert!(held.missing_blobs.is_empty());
        let reader = bench.store.reader().unwrap();
        let served = reader.with_sidecar_by_hash(&proposal.hash(0), |height, index, _| (height, index)).unwrap();
        assert_eq!(served, Some((1, 0)), "undecided blobs are served by hash");
        assert_eq!(reader.sidecar(1, 0).unwrap(), None, "and not by height");
        assert_eq!(reader.payload(1).unwrap(), None);
    }
}

#[test]
fn a_dropped_round_leaves_what_others_need() {
    let mut bench = Bench::new();
    let base = bench.whole(&[1]);
    let lost = bench.chain.propose(&[1, 2, 3], 10);
    let other = bench.chain.propose(&[3], 10);
    bench.store.insert_undecided(0, &lost.value, at(0)).unwrap();
    bench.store.insert_undecided(1, &other.value, at(0)).unwrap();
    bench.store.insert(lost.batch()).unwrap();
    let dropped = bench.store.drop_round(2, 0).unwrap();
    assert_eq!((dropped.values, dropped.payloads, dropped.blobs), (1, 1, 1));
    let status = |proposal: &Proposal, index| bench.store.blob_status(&proposal.hash(index)).unwrap();
    assert_eq!(status(&base, 0), BlobStatus::Decided);
    assert_eq!(status(&lost, 1), BlobStatus::Unknown);
    assert_eq!(status(&lost, 2), BlobStatus::Undecided);
    assert_eq!(bench.store.drop_round(2, 0).unwrap().values, 0, "dropping twice is harmless");
}

#[test]
fn a_value_of_two_rounds_outlives_one_of_them() {
    let bench = Bench::new();
    let proposal = bench.chain.propose(&[1], 10);
    bench.store.insert_undecided(0, &proposal.value, at(0)).unwrap();
    bench.store.insert_undecided(3, &proposal.value, at(0)).unwrap();
    bench.store.insert(proposal.batch()).unwrap();
    assert_eq!(bench.store.drop_round(1, 0).unwrap().values, 0);
    assert_eq!(bench.store.get_undecided(proposal.value.id()).unwrap().unwrap().rounds, [3]);
    assert_eq!(bench.store.drop_round(1, 3).unwrap().blobs, 1);
    assert_eq!(bench.store.stats().unwrap().tallies.undecided_bytes(), 0);
}

#[test]
fn values_expire_unless_proposed_again() {
    let bench = Bench::with(StoreConfig { undecided_ttl: Duration::from_secs(60), ..StoreConfig::default() });
    let old = bench.chain.propose(&[1], 10);
    let renewed = bench.chain.propose(&[2], 10);
    bench.store.insert_undecided(0, &old.value, at(0)).unwrap();
    bench.store.insert_undecided(1, &renewed.value, at(0)).unwrap();
    bench.store.insert_undecided(2, &renewed.value, at(50)).unwrap();
    assert_eq!(bench.store.expire_undecided(at(59)).unwrap().values, 0);
    assert_eq!(bench.store.expire_undecided(at(60)).unwrap().values, 1);
    assert!(bench.store.get_undecided(old.value.id()).unwrap().is_none());
    assert!(bench.store.get_undecided(renewed.value.id()).unwrap().is_some());
    assert_eq!(bench.store.expire_undecided(at(110)).unwrap().values, 1);
    assert_eq!(bench.store.stats().unwrap().tallies.undecided_bytes(), 0);
}

#[test]
fn the_cap_refuses_more_and_frees_what_expired() {
    let config = StoreConfig {
        undecided_bytes: 2 * 131_072 + 3_000,
        undecided_ttl: Duration::from_secs(60),
        ..StoreConfig::default()
    };
    let mut bench = Bench::with(config);
    let decided = bench.decided(&[50, 51]);
    let first = bench.chain.propose(&[1, 2, 3], 10);
    bench.store.insert_undecided(0, &first.value, at(0)).unwrap();
    let blobs = |range: std::ops::Range<usize>| Batch { blobs: first.blobs(range), ..Batch::default() };
    bench.store.insert(blobs(0..2)).unwrap();
    assert!(matches!(bench.store.insert(blobs(2..3)), Err(StoreError::UndecidedFull { wanted: 131_072, .. })));
    bench.store.insert(decided.batch()).unwrap();
    assert_eq!(bench.store.watermarks().available, 1, "decided data is not under the cap");
    let mut refused = 0;
    for round in 1..100 {
        match bench.store.insert_undecided(round, &first.value, at(1)) {
            Ok(()) => {}
            Err(StoreError::UndecidedFull { .. }) => refused += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert!(refused > 0, "rounds cost room, too");
    let second = bench.chain.propose(&[4], 2_000);
    assert!(bench.store.insert_undecided(0, &second.value, at(2)).is_err());
    bench.store.insert_undecided(0, &second.value, at(100)).unwrap();
    assert!(bench.store.get_undecided(first.value.id()).unwrap().is_none(), "it had expired");
    bench.store.insert(second.batch()).unwrap();
}

#[test]
fn decided_heights_take_no_proposals() {
    let mut bench = Bench::new();
    let late = bench.chain.propose(&[2], 10);
    let decided = bench.whole(&[1]);
    bench.store.insert_undecided(4, &decided.value, at(0)).unwrap();
    assert_eq!(bench.store.stats().unwrap().tallies.values_undecided.count, 0);
    let Err(StoreError::Conflict(conflict)) = bench.store.insert_undecided(0, &late.value, at(0)) else {
        panic!("stored")
    };
    assert_eq!(conflict, Conflict::NotUndecided { height: 1, decided: 1 });
}
