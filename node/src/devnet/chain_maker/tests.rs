#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::BTreeSet;

use lapis_protocol_spec::{ChainLink, Matched};

use super::*;
use crate::{
    devnet::fixtures::{chain, kzg},
    execution::{Embedded, ExecutionEngine, ForkSchedule, Head, ImportBlock, PayloadStatus},
};

/// Verifies and imports `blocks` as a node does that knows the genesis and the validator sets alone.
async fn follow(chain: &ChainMaker, blocks: &[Block]) {
    let spec = chain.spec();
    let genesis = spec.genesis();
    let mut link = ChainLink::genesis(genesis);
    let mut engine = Embedded::new(Head::genesis(genesis.execution_block_hash.0.into(), genesis.genesis_time));
    for block in blocks {
        let decided = block.decided.clone().into_inner();
        let signers = spec.validator_set(decided.value.height);
        let decided = decided.verify(&genesis.id(), genesis.max_blobs_per_block, &link, signers).unwrap();
        let import = ImportBlock::new(&decided.value, &block.payload, ForkSchedule::from(genesis)).unwrap();
        assert!(matches!(engine.new_payload(&import).await, PayloadStatus::Valid { .. }));
        assert_eq!(block.blobs.len(), decided.value.blob_count());
        link = ChainLink::after(&decided.value, *decided.value_id());
    }
    assert_eq!(link, chain.tip().link);
}

#[tokio::test]
async fn a_follower_takes_every_block() {
    let mut chain = chain(4);
    let blocks: Vec<_> = [0, 1, 6, 0, 2].map(|blobs| chain.next(blobs).unwrap()).into();
    assert_eq!(blocks.iter().map(|block| block.blobs.len()).collect::<Vec<_>>(), [0, 1, 6, 0, 2]);
    follow(&chain, &blocks).await;
}

#[tokio::test]
async fn a_follower_takes_a_chain_that_goes_from_cancun_to_prague() {
    let params = DevnetParams::new(1);
    let prague_time = params.genesis_time + 3;
    let mut chain = ChainMaker::new(&DevnetParams { prague_time, ..params }, kzg()).unwrap();
    let blocks: Vec<_> = [1, 1, 1, 1].map(|blobs| chain.next(blobs).unwrap()).into();
    follow(&chain, &blocks).await;
}

#[tokio::test]
async fn a_follower_takes_a_change_of_validators_and_back() {
    let members_from = [(3, BTreeSet::from([0, 3])), (5, BTreeSet::from([0, 1, 2, 3]))].into();
    let mut chain = ChainMaker::new(&DevnetParams { members_from, ..DevnetParams::new(4) }, kzg()).unwrap();
    let blocks: Vec<_> = (0..6).map(|_| chain.next(0).unwrap()).collect();
    follow(&chain, &blocks).await;
    let signers: Vec<_> = blocks.iter().map(|block| block.decided.certificate.signatures.len()).collect();
    assert_eq!(signers, [4, 4, 2, 2, 4, 4]);
}

#[test]
fn two_makers_of_one_chain_agree() {
    let (mut one, mut two) = (chain(4), chain(4));
    for blobs in [1, 0] {
        assert_eq!(one.next(blobs).unwrap().decided, two.next(blobs).unwrap().decided);
    }
}

#[test]
fn a_later_round_may_decide() {
    let mut chain = chain(4);
    let built = chain.propose(3, 1).unwrap();
    let block = chain.decide(built).unwrap();
    assert_eq!(block.decided.certificate.round, 3);
    assert_eq!(chain.tip().link.height, 1);
}

#[test]
fn a_certificate_short_of_two_thirds_can_be_made_and_is_refused() {
    let chain = chain(4);
    let proposal = chain.propose(0, 0).unwrap().proposal;
    let forged = chain.decided_by(&proposal.value, 0, &[0, 2]).unwrap();
    assert_eq!(chain.verify(forged), Err(CertificateFault::Power { signed: 2, total: 4 }));
    let enough = chain.decided_by(&proposal.value, 0, &[0, 2, 3]).unwrap();
    assert!(chain.verify(enough).is_ok());
}

#[test]
fn a_block_of_another_tip_is_not_decided() {
    let mut chain = chain(1);
    let stale = chain.propose(0, 0).unwrap();
    chain.next(0).unwrap();
    let refused = chain.decide(stale).err();
    assert!(matches!(refused, Some(MakeError::Certificate(CertificateFault::Height { found: 1, expected: 2 }))));
    assert_eq!(chain.tip().link.height, 1);
}

#[test]
fn a_wrong_proof_can_be_made_and_is_refused() {
    let mut chain = chain(1);
    let block = chain.next(2).unwrap();
    let mut forged = block.blobs[0].clone().into_inner();
    forged.kzg_proof = block.blobs[1].kzg_proof;
    let matched = Matched::blob(forged, &block.value, 0).unwrap();
    assert!(kzg().verify(matched).is_err());
}
