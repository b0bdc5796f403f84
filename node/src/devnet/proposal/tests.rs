#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use super::*;
use crate::devnet::fixtures::chain;

#[test]
fn a_value_says_what_its_data_is() {
    let chain = chain(4);
    let built = chain.propose(0, 2).unwrap();
    let Proposal { value, payload, blobs, round } = &built.proposal;
    let (fields, spec) = (value.value(), chain.spec());
    assert_eq!((fields.height, *round), (1, 0));
    assert_eq!(fields.timestamp, spec.genesis().genesis_time + 1);
    assert_eq!(fields.proposer, chain.keys()[1].address());
    assert_eq!(fields.parent_block_hash, spec.genesis().execution_block_hash);
    assert_eq!(fields.next_validators_root, spec.genesis().validators.root());
    assert_eq!(payload.check(fields), Ok(()));
    let commitments: Vec<_> = blobs.iter().map(|blob| blob.kzg_commitment).collect();
    assert_eq!(commitments, fields.blob_kzg_commitments.to_vec());
    assert!(blobs.iter().all(|blob| blob.value_id() == value.id()));
    assert_eq!(fields.check_link(&chain.tip().link), Ok(()));
}

#[test]
fn the_next_tip_is_the_proposals() {
    let chain = chain(1);
    let built = chain.propose(0, 1).unwrap();
    let value = &built.proposal.value;
    assert_eq!(built.next.link, ChainLink::after(value.value(), *value.id()));
    assert_eq!(built.next.execution.hash.0, value.value().block_hash.0);
    assert_eq!(built.next.next_height(), 2);
    let second = chain.proposer().build(&built.next, 0, 0).unwrap();
    assert_eq!(second.proposal.value.value().check_link(&built.next.link), Ok(()));
}

#[test]
fn the_same_round_gives_the_same_proposal_and_another_round_another() {
    let chain = chain(4);
    let id = |round| *chain.propose(round, 1).unwrap().proposal.value.id();
    assert_eq!(id(0), id(0));
    // Round 4 has the proposer of round 0.
    assert_ne!(id(0), id(4));
}

#[test]
fn an_empty_height_of_another_round_is_another_value_even_from_the_same_proposer() {
    let chain = chain(1);
    let id = |round| *chain.propose(round, 0).unwrap().proposal.value.id();
    assert_ne!(id(0), id(1));
}

#[test]
fn many_blobs_are_verified_in_order() {
    let chain = chain(1);
    let built = chain.propose(0, 150).unwrap();
    let indices: Vec<_> = built.proposal.blobs.iter().map(|blob| blob.index).collect();
    assert_eq!(indices, (0..150).collect::<Vec<_>>());
}

#[test]
fn more_blobs_than_the_chain_allows_are_not_proposed() {
    let refused = chain(1).proposer().build(chain(1).tip(), 0, 1025);
    assert!(matches!(refused, Err(ProposeError::TooManyBlobs { count: 1025, max: 1024 })));
}
