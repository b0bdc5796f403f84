//! Validators that stop, or are cut off, while the others go on or cannot.

use std::{collections::BTreeSet, sync::Arc};

use lapis_node::devnet::{
    consensus::{BlobCounts, ConsensusError, Faults, LosingRounds},
    spec::DevnetParams,
};
use lapis_tests::{Home, Setup, TestChain, Validators};

const ALL: [usize; 4] = [0, 1, 2, 3];

fn blobs() -> BlobCounts {
    BlobCounts::Cycle(vec![2, 0, 3, 1])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_four_nodes_one_stops_at_height_10_the_others_reach_20_and_it_catches_up_and_votes_again() {
    let mut validators = Validators::start(blobs()).await;
    validators.decide(&ALL, 10).await.unwrap();
    validators.agree(10).await;
    let home = validators.stop(3).await;
    validators.decide(&[0, 1, 2], 20).await.unwrap();

    validators.restart(3, home).await;
    validators.agree(20).await;
    // Without its vote there would be no quorum now.
    validators.decide(&[1, 2, 3], 22).await.unwrap();
    validators.agree(22).await;
    for other in [0, 1, 2] {
        validators.node(3).assert_unblemished(validators.node(other).peer_id()).await;
    }
    validators.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_of_three_and_one_heals() {
    let mut validators = Validators::start(blobs()).await;
    validators.decide(&ALL, 4).await.unwrap();
    validators.cut_off(3).await;
    validators.decide(&[0, 1, 2], 8).await.unwrap();
    assert_eq!(validators.node(3).store().watermarks().decided, 4, "it is cut off");

    validators.heal(3).await;
    validators.agree(8).await;
    validators.decide(&[1, 2, 3], 10).await.unwrap();
    validators.agree(10).await;
    validators.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_of_two_and_two_decides_nothing_and_heals() {
    let mut validators = Validators::start(blobs()).await;
    validators.decide(&ALL, 4).await.unwrap();
    validators.agree(4).await;
    for half in [[0, 1], [2, 3]] {
        let outcome = validators.decide(&half, 8).await;
        assert!(matches!(outcome, Err(ConsensusError::NoQuorum { height: 5, .. })), "{outcome:?}");
    }
    validators.agree(4).await;
    validators.decide(&ALL, 8).await.unwrap();
    validators.agree(8).await;
    validators.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_validator_behind_by_one_height_catches_up_without_a_restart() {
    let mut validators = Validators::start(blobs()).await;
    validators.decide(&ALL, 3).await.unwrap();
    validators.cut_off(3).await;
    validators.decide(&[0, 1, 2], 4).await.unwrap();
    validators.heal(3).await;
    validators.agree(4).await;
    validators.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rounds_that_fail_leave_nothing_behind_at_any_node_nor_at_the_proposer() {
    let mut validators = Validators::start(blobs()).await;
    for (last, losing_rounds) in [(3, LosingRounds::DropAtOnce), (6, LosingRounds::LeaveToDecision)] {
        let failed_rounds = [(last, 3), (last - 1, 1)].into();
        let faults = Faults { failed_rounds, losing_rounds, ..Faults::default() };
        validators.decide_with(&ALL, last, faults).await.unwrap();
        validators.agree(last).await;
        for index in ALL {
            let tallies = validators.node(index).store().stats().unwrap().tallies;
            assert_eq!((tallies.values_undecided.count, tallies.undecided_bytes()), (0, 0), "validator {index}");
        }
    }
    validators.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn validators_that_change_hand_their_sets_over_to_their_nodes_and_these_to_everybody() {
    let members_from = [(3, BTreeSet::from([1, 2, 3])), (5, BTreeSet::from([0, 2, 3])), (7, BTreeSet::from(ALL))];
    let params = DevnetParams { members_from: members_from.into(), ..DevnetParams::new(4) };
    let chain = Arc::new(TestChain::new(&params, []));
    let mut validators = Validators::of(Arc::clone(&chain), blobs()).await;
    let address = validators.node(0).address();
    let follower = Home::new(&chain).start(Setup::peers([address])).await;
    validators.decide(&ALL, 4).await.unwrap();
    follower.imported(4).await;
    // One that was away while the set changed learns it from the others.
    validators.cut_off(1).await;
    validators.decide(&[0, 2, 3], 6).await.unwrap();
    validators.heal(1).await;
    validators.agree(6).await;
    validators.decide(&ALL, 8).await.unwrap();
    validators.agree(8).await;
    follower.imported(8).await;
    follower.stop().await;
    validators.stop_all().await;
}
