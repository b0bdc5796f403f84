#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod node;

use std::collections::BTreeSet;

use lapis_protocol_spec::ChainLink;

use self::node::{Behaviour, Event, Network};
use super::*;
use crate::devnet::{chain_maker::ChainMaker, fixtures::kzg, spec::DevnetParams};

/// As fast as possible up to `last_height`.
fn config(last_height: Height, blobs: Vec<u64>) -> Config {
    Config {
        last_height: Some(last_height),
        block_time: Duration::ZERO,
        blobs: BlobCounts::Cycle(blobs),
        ..Config::default()
    }
}

fn failing(height: Height, rounds: u64, losing_rounds: LosingRounds) -> Faults {
    Faults { failed_rounds: [(height, rounds)].into(), losing_rounds, ..Faults::default() }
}

fn away(outages: &[(usize, std::ops::Range<Height>)]) -> Faults {
    let outages = outages.iter().map(|(validator, heights)| Outage { validator: *validator, heights: heights.clone() });
    Faults { outages: outages.collect(), ..Faults::default() }
}

#[tokio::test]
async fn every_node_stores_and_decides_every_height_in_order() {
    let mut network = Network::new(4);
    let tip = network.run(config(6, vec![0, 1, 6])).await.unwrap();
    assert_eq!(tip.link.height, 6);
    for node in 0..4 {
        let expected: Vec<_> = (1..=6).flat_map(|h| [Event::Proposed(h, 0), Event::Decided(h, 0)]).collect();
        assert_eq!(network.events(node), expected);
    }
    let progress = network.progress();
    assert_eq!((progress.decided_height, progress.blobs, progress.failed_rounds), (6, 14, 0));
    assert_eq!(progress.decided_value_id, tip.link.value_id);
    assert!(progress.bytes > 14 * BYTES_PER_BLOB as u64);
}

#[tokio::test]
async fn what_was_decided_verifies_from_genesis_with_all_signatures() {
    let mut network = Network::new(4);
    network.run(config(3, vec![1])).await.unwrap();
    let spec = Arc::clone(network.spec());
    let mut link = ChainLink::genesis(spec.genesis());
    for decided in network.decided(2) {
        let (decided, set) = (decided.into_inner(), spec.validator_set(link.height + 1));
        assert_eq!(decided.certificate.signatures.len(), 4);
        let decided = decided.verify(&spec.genesis_id(), 1024, &link, set).unwrap();
        link = ChainLink::after(&decided.value, *decided.value_id());
    }
    assert_eq!(link.height, 3);
}

#[tokio::test]
async fn the_proposer_stores_its_data_before_anybody_else_hears_of_it() {
    let mut network = Network::new(4);
    network.run(config(5, vec![1])).await.unwrap();
    for height in 1..=5 {
        let leader = network.spec().proposer(height, 0);
        let log = network.log();
        let of_height: Vec<_> = log.iter().filter(|entry| entry.event == Event::Proposed(height, 0)).collect();
        assert_eq!((of_height[0].node, of_height.len()), (leader, 4));
        let acknowledged = log.iter().position(|entry| entry.node == leader && entry.event == Event::Stored(height, 0));
        let heard = log.iter().position(|entry| entry.node != leader && entry.event == Event::Proposed(height, 0));
        assert!(acknowledged.unwrap() < heard.unwrap());
    }
}

#[tokio::test]
async fn failed_rounds_are_stored_dropped_and_followed_by_another_value() {
    let mut network = Network::new(4);
    let config = Config { faults: failing(2, 2, LosingRounds::DropAtOnce), ..config(3, vec![1]) };
    network.run(config).await.unwrap();
    let expected = [
        Event::Proposed(1, 0),
        Event::Decided(1, 0),
        Event::Proposed(2, 0),
        Event::Dropped(2, 0),
        Event::Proposed(2, 1),
        Event::Dropped(2, 1),
        Event::Proposed(2, 2),
        Event::Decided(2, 2),
        Event::Proposed(3, 0),
        Event::Decided(3, 0),
    ];
    assert_eq!(network.events(0), expected);
    let ids: BTreeSet<_> = network.proposals(0).iter().map(|proposal| *proposal.value.id()).collect();
    assert_eq!(ids.len(), 5);
    assert_eq!(network.progress().failed_rounds, 2);
}

#[tokio::test]
async fn losing_rounds_may_be_left_to_the_decision() {
    let mut network = Network::new(4);
    let config = Config { faults: failing(1, 1, LosingRounds::LeaveToDecision), ..config(1, vec![1]) };
    network.run(config).await.unwrap();
    assert_eq!(network.events(3), [Event::Proposed(1, 0), Event::Proposed(1, 1), Event::Decided(1, 1)]);
}

#[tokio::test]
async fn a_validator_that_is_away_gets_nothing_and_signs_nothing() {
    let mut network = Network::new(4);
    network.run(Config { faults: away(&[(3, 2..4)]), ..config(4, vec![0]) }).await.unwrap();
    let heights = |node| network.decided(node).iter().map(Verified::height).collect::<Vec<_>>();
    assert_eq!((heights(3), heights(0)), (vec![1, 4], vec![1, 2, 3, 4]));
    let absent = network.keys()[3].address();
    for decided in network.decided(0) {
        let signed = decided.certificate.signatures.iter().any(|signature| signature.address == absent);
        assert_eq!(signed, !(2..4).contains(&decided.height()));
    }
}

#[tokio::test]
async fn the_turn_of_a_proposer_that_is_away_passes_to_the_next() {
    let mut network = Network::new(4);
    // It would be validator 2's turn at height 2.
    network.run(Config { faults: away(&[(2, 2..3)]), ..config(2, vec![0]) }).await.unwrap();
    assert_eq!(network.events(3)[2..], [Event::Proposed(2, 1), Event::Decided(2, 1)]);
    let value = network.decided(0)[1].value.clone();
    assert_eq!(value.proposer, network.keys()[3].address());
}

#[tokio::test]
async fn two_thirds_of_the_power_are_not_enough() {
    let mut network = Network::new(3);
    let ended = network.run(Config { faults: away(&[(0, 3..9)]), ..config(5, vec![0]) }).await;
    assert!(matches!(ended, Err(ConsensusError::NoQuorum { height: 3, online: 2, total: 3 })));
    assert_eq!(network.progress().decided_height, 2);
    assert_eq!(network.decided(1).len(), 2);
}

#[tokio::test]
async fn the_others_go_on_when_a_node_closes_and_stop_when_two_do() {
    let mut network = Network::new(4);
    network.behaves(0, Behaviour::CloseAfter(2));
    let tip = network.run(config(5, vec![0])).await.unwrap();
    assert_eq!((tip.link.height, network.decided(1).len()), (5, 5));

    let mut network = Network::new(4);
    network.behaves(0, Behaviour::CloseAfter(2));
    network.behaves(1, Behaviour::CloseAfter(4));
    let ended = network.run(config(5, vec![0])).await;
    assert!(matches!(ended, Err(ConsensusError::NoQuorum { height: 3, online: 2, total: 4 })));
}

#[tokio::test]
async fn a_proposer_whose_store_fails_publishes_nothing() {
    let mut network = Network::new(4);
    // Validator 1 proposes first.
    network.behaves(1, Behaviour::RefuseProposals);
    network.run(config(1, vec![1])).await.unwrap();
    assert_eq!(network.events(2), [Event::Proposed(1, 1), Event::Decided(1, 1)]);
    assert_eq!(network.decided(2)[0].certificate.signatures.len(), 3);
    assert_eq!(network.progress().failed_rounds, 1);
}

#[tokio::test]
async fn rounds_end_when_the_nodes_are_there_but_store_nothing() {
    let mut network = Network::new(4);
    for node in 0..4 {
        network.behaves(node, Behaviour::RefuseProposals);
    }
    let ended = network.run(config(1, vec![0])).await;
    assert!(matches!(ended, Err(ConsensusError::NoDecision { height: 1, rounds: 9 })));
}

#[tokio::test]
async fn a_decision_that_no_node_stores_ends_the_run() {
    let mut network = Network::new(4);
    for node in 0..4 {
        network.behaves(node, Behaviour::RefuseDecisions);
    }
    let ended = network.run(config(2, vec![0])).await;
    assert!(matches!(ended, Err(ConsensusError::NotStored { height: 1 })));
    assert_eq!(network.progress().decided_height, 0);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_does_not_answer_costs_its_vote_alone() {
    let mut network = Network::new(4);
    network.behaves(2, Behaviour::Silent);
    network.run(Config { time_limit: Duration::from_millis(1), ..config(1, vec![0]) }).await.unwrap();
    let silent = network.keys()[2].address();
    let certificate = network.decided(0)[0].certificate.clone();
    assert_eq!(certificate.signatures.len(), 3);
    assert!(certificate.signatures.iter().all(|signature| signature.address != silent));
}

#[tokio::test(start_paused = true)]
async fn heights_are_a_block_time_apart() {
    let mut network = Network::new(1);
    let start = tokio::time::Instant::now();
    let block_time = Duration::from_secs(12);
    network.run(Config { block_time, ..config(5, vec![0]) }).await.unwrap();
    let elapsed = start.elapsed();
    assert!(elapsed >= block_time * 4 && elapsed < block_time * 5, "{elapsed:?}");
}

#[tokio::test]
async fn a_cancelled_run_ends_between_heights_and_another_goes_on_from_there() {
    let mut network = Network::new(4);
    network.behaves(0, Behaviour::CancelAt(3));
    let tip = network.run(Config { last_height: None, ..config(0, vec![1]) }).await.unwrap();
    assert_eq!(tip.link.height, 3);
    assert!((0..4).all(|node| network.decided(node).len() == 3));

    let mut resumed = Network::from_tip(4, tip);
    let tip = resumed.run(config(5, vec![1])).await.unwrap();
    assert_eq!(tip.link.height, 5);
    let first = resumed.decided(0)[0].value.clone();
    assert_eq!((first.height, first.parent_value_id), (4, network.progress().decided_value_id));
}

#[tokio::test]
async fn a_run_that_has_reached_its_last_height_does_nothing() {
    let mut network = Network::new(1);
    let tip = network.run(config(0, vec![1])).await.unwrap();
    assert_eq!(tip.link.height, 0);
    assert!(network.log().is_empty());
}

#[tokio::test]
async fn a_change_of_validators_is_followed_by_all_nodes_and_signed_by_the_new_set() {
    let members_from = [(3, BTreeSet::from([0, 2, 3]))].into();
    let mut network = Network::with_params(&DevnetParams { members_from, ..DevnetParams::new(4) });
    network.run(config(4, vec![0])).await.unwrap();
    let decided = network.decided(1);
    assert_eq!(decided.iter().map(Verified::height).collect::<Vec<_>>(), [1, 2, 3, 4]);
    let signers: Vec<_> = decided.iter().map(|value| value.certificate.signatures.len()).collect();
    assert_eq!(signers, [4, 4, 3, 3]);
    assert_ne!(decided[1].value.validators_root, decided[1].value.next_validators_root);
}

#[tokio::test]
async fn more_blobs_than_the_chain_allows_end_the_run() {
    let mut network = Network::new(1);
    let ended = network.run(config(2, vec![0, 1025])).await;
    let Err(ConsensusError::Propose { height: 2, source: ProposeError::TooManyBlobs { count: 1025, .. } }) = ended
    else {
        panic!("{ended:?}");
    };
}

#[tokio::test]
async fn ports_of_strangers_and_second_ports_are_refused() {
    let chain = ChainMaker::new(&DevnetParams::new(2), kzg()).unwrap();
    let stranger = ValidatorKey::from_secret([1; 32]);
    let twice = chain.keys()[0].clone();
    for keys in [vec![stranger], vec![twice.clone(), twice]] {
        let ports = keys.into_iter().map(|key| ValidatorPort { key, source: crate::source::channel().0 }).collect();
        let (progress, _) = watch::channel(Progress::default());
        let (proposer, tip) = (chain.proposer().clone(), *chain.tip());
        let ended = run(proposer, ports, tip, Config::default(), progress, CancellationToken::new()).await;
        assert!(matches!(ended, Err(ConsensusError::Port(_))));
    }
}
