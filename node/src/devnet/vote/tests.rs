#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::{collections::BTreeSet, sync::Arc};

use lapis_protocol_spec::{IdentifiedValue, Matched, Value};

use super::*;
use crate::devnet::{
    chain_maker::ChainMaker,
    fixtures::{chain, kzg},
    spec::DevnetParams,
};

fn vote(chain: &ChainMaker, validator: usize, proposal: &Proposal) -> Result<CommitSignature, VoteFault> {
    Voter::new(chain.keys()[validator].clone()).precommit(chain.spec(), chain.tip(), proposal)
}

/// The proposal of round 0 with one blob, of which `change` makes another value that its payload is then matched with.
fn forged(chain: &ChainMaker, change: impl FnOnce(&mut Value)) -> Proposal {
    let Proposal { round, value, payload, .. } = chain.propose(0, 0).unwrap().proposal;
    let mut fields = (**value.value()).clone();
    change(&mut fields);
    let value = IdentifiedValue::new(Arc::new(fields));
    let mut envelope = payload.into_inner();
    envelope.value_id = *value.id();
    let payload = Matched::payload(envelope, &value).unwrap().verify().unwrap();
    Proposal { round, value, payload, blobs: Vec::new() }
}

#[test]
fn a_vote_signs_the_value_for_its_height_and_round() {
    let chain = chain(4);
    let proposal = chain.propose(2, 1).unwrap().proposal;
    let signature = vote(&chain, 3, &proposal).unwrap();
    let key = &chain.keys()[3];
    assert_eq!(signature, key.sign(chain.spec().genesis_id(), VoteKind::Precommit, 1, 2, *proposal.value.id()));
    assert_ne!(signature, key.sign(chain.spec().genesis_id(), VoteKind::Precommit, 1, 0, *proposal.value.id()));
    assert_ne!(signature, key.sign(chain.spec().genesis_id(), VoteKind::Prevote, 1, 2, *proposal.value.id()));
}

#[test]
fn a_validator_signs_once_in_a_round_and_never_goes_back() {
    let chain = chain(4);
    let mut voter = Voter::new(chain.keys()[0].clone());
    let mut precommit =
        |round| voter.precommit(chain.spec(), chain.tip(), &chain.propose(round, 0).unwrap().proposal).map(|_| ());
    assert!(precommit(1).is_ok());
    assert!(matches!(precommit(1), Err(VoteFault::AlreadyVoted { height: 1, round: 1 })));
    assert!(matches!(precommit(0), Err(VoteFault::AlreadyVoted { height: 1, round: 1 })));
    assert!(precommit(2).is_ok());
}

#[test]
fn a_refused_proposal_does_not_use_up_the_vote() {
    let chain = chain(4);
    let mut voter = Voter::new(chain.keys()[0].clone());
    let bad = forged(&chain, |value| value.timestamp += 1);
    assert!(voter.precommit(chain.spec(), chain.tip(), &bad).is_err());
    let good = chain.propose(0, 0).unwrap().proposal;
    assert!(voter.precommit(chain.spec(), chain.tip(), &good).is_ok());
}

#[test]
fn only_members_of_the_set_vote() {
    let members_from = [(1, BTreeSet::from([0, 1]))].into();
    let params = DevnetParams { members_from, ..DevnetParams::new(3) };
    let chain = ChainMaker::new(&params, kzg()).unwrap();
    let proposal = chain.propose(0, 0).unwrap().proposal;
    assert!(vote(&chain, 0, &proposal).is_ok());
    assert!(matches!(vote(&chain, 2, &proposal), Err(VoteFault::NotMember(_, 1))));
}

#[test]
fn a_value_that_does_not_attach_to_the_tip_gets_no_vote() {
    let mut chain = chain(4);
    let stale = chain.propose(0, 0).unwrap().proposal;
    chain.next(0).unwrap();
    let fault = vote(&chain, 0, &stale);
    assert!(matches!(fault, Err(VoteFault::Link(CertificateFault::Height { found: 1, expected: 2 }))));
}

#[test]
fn a_proposer_out_of_turn_gets_no_vote() {
    let chain = chain(4);
    let usurper = chain.keys()[0].address();
    let fault = vote(&chain, 0, &forged(&chain, |value| value.proposer = usurper));
    let turn = chain.keys()[1].address();
    assert!(matches!(fault, Err(VoteFault::Proposer { found, expected }) if found == usurper && expected == turn));
}

#[test]
fn a_value_that_appoints_another_set_gets_no_vote() {
    let chain = chain(4);
    let fault = vote(&chain, 0, &forged(&chain, |value| value.next_validators_root = Bytes32::ZERO));
    assert!(matches!(fault, Err(VoteFault::NextValidators)));
}

#[test]
fn missing_or_reordered_or_foreign_blobs_get_no_vote() {
    let chain = chain(4);
    let whole = chain.propose(0, 3).unwrap().proposal;
    let other = chain.propose(1, 3).unwrap().proposal;
    let mut missing = whole.clone();
    missing.blobs.pop();
    let mut swapped = whole.clone();
    swapped.blobs.swap(0, 1);
    let mut foreign = whole.clone();
    foreign.blobs[2] = other.blobs[2].clone();
    let mut payload = whole.clone();
    payload.payload = other.payload;
    for incomplete in [missing, swapped, foreign, payload] {
        assert!(matches!(vote(&chain, 0, &incomplete), Err(VoteFault::Incomplete)));
    }
    assert!(vote(&chain, 0, &whole).is_ok());
}

#[test]
fn an_execution_block_that_is_not_the_values_gets_no_vote() {
    let chain = chain(4);
    let fault = vote(&chain, 0, &forged(&chain, |value| value.block_hash = Bytes32::ZERO));
    assert!(matches!(fault, Err(VoteFault::Block(ImportFault::Block { height: 1, .. }))));
}

#[test]
fn a_quorum_is_more_than_two_thirds() {
    let set = |powers: Vec<u64>| {
        let params = DevnetParams { powers, ..DevnetParams::new(0) };
        let keys = params.keys();
        ValidatorSet::new(keys.iter().zip(&params.powers).map(|(key, power)| key.validator(*power)).collect()).unwrap()
    };
    let three = set(vec![1, 1, 1]);
    assert!(!is_quorum(2, &three));
    assert!(is_quorum(3, &three));
    let four = set(vec![1, 1, 1, 1]);
    assert!(!is_quorum(2, &four));
    assert!(is_quorum(3, &four));
    let large = set(vec![(1 << 62), (1 << 61)]);
    assert!(!is_quorum(1 << 62, &large));
    assert!(is_quorum((1 << 62) + 1, &large));
}
