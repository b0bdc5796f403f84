#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use alloy_primitives::Bytes as AlloyBytes;
use alloy_rpc_types_engine::ExecutionPayloadV3;
use bytes::Bytes;
use lapis_protocol_spec::{ByteList, Bytes32, Bytes48, PayloadEnvelope, Value, versioned_hash};
use proptest::prelude::*;
use ssz::{Decode, Encode};

use super::*;
use crate::execution::{
    builder::{BlockAttributes, BuiltBlock},
    engine::NoEngine,
    fixtures::{CHAIN_ID, Case, GENESIS_TIME, attributes, builder, forks},
    fork::Fork,
    payload::ExpectedBlock,
};

fn genesis_head(case: &Case) -> Head {
    Head::genesis(case.parent.hash, GENESIS_TIME)
}

fn fault(head: &Head, case: &Case) -> ImportFault {
    next_head(head, &case.import_block()).expect_err("a wrong block is accepted")
}

/// Changes the block, seals it again, and lets the value certify the result with its new hash.
fn reseal(case: &mut Case, change: impl FnOnce(&mut ExecutionPayloadV3)) {
    let mut payload = ExecutionPayloadV3::from_ssz_bytes(&case.built.payload).unwrap();
    change(&mut payload);
    let mut header = payload.clone().into_block_raw().unwrap().header;
    header.parent_beacon_block_root = Some(case.expected.parent_beacon_block_root);
    if case.expected.fork == Fork::Prague {
        header.requests_hash = Some(case.expected.requests_hash);
    }
    let block = &mut payload.payload_inner.payload_inner;
    block.block_hash = header.hash_slow();
    case.expected.block_hash = block.block_hash;
    case.expected.parent_block_hash = block.parent_hash;
    case.expected.timestamp = block.timestamp;
    case.certify(payload.as_ssz_bytes());
}

#[test]
fn a_chain_is_followed_block_by_block_over_a_fork() {
    let forks = crate::execution::ForkSchedule { cancun_time: GENESIS_TIME, prague_time: GENESIS_TIME + 3 };
    let builder = crate::execution::BlockBuilder::new(
        CHAIN_ID,
        forks,
        crate::execution::BlobSchedule::flat(9),
        crate::execution::builder::Account::development().unwrap(),
    );
    let mut parent = builder.genesis(GENESIS_TIME).unwrap();
    let mut head = Head::genesis(parent.hash, GENESIS_TIME);
    for height in 1..=6 {
        let fork = if height < 3 { Fork::Cancun } else { Fork::Prague };
        let case = Case::after(&builder, &parent, fork, usize::try_from(height).unwrap());
        head = next_head(&head, &case.import_block()).unwrap();
        assert_eq!((head.height, head.block_number, head.timestamp), (height, height, GENESIS_TIME + height));
        assert_eq!(head.block_hash, case.built.as_parent.hash);
        parent = case.built.as_parent;
    }
}

#[test]
fn the_head_itself_may_be_offered_again_but_only_whole() {
    let mut case = Case::first(Fork::Cancun, 2);
    let head = next_head(&genesis_head(&case), &case.import_block()).unwrap();
    assert_eq!(next_head(&head, &case.import_block()).unwrap(), head);

    case.built.payload.pop();
    assert!(matches!(fault(&head, &case), ImportFault::Block { source: BlockFault::Size { .. }, .. }));
}

#[test]
fn a_height_out_of_order_is_the_callers_fault() {
    let builder = builder(Fork::Cancun);
    let first = Case::first(Fork::Cancun, 1);
    let second = Case::after(&builder, &first.built.as_parent, Fork::Cancun, 1);
    let found = fault(&genesis_head(&first), &second);
    assert!(matches!(found, ImportFault::OutOfOrder { head: 0, offered: 2 }));
    assert!(matches!(
        PayloadStatus::from(found),
        PayloadStatus::Unavailable(Unavailability::OutOfOrder { head: 0, offered: 2 })
    ));

    let head = head_at(&second.import_block()).unwrap();
    assert!(matches!(fault(&head, &first), ImportFault::OutOfOrder { head: 2, offered: 1 }));
    let last = Head { height: u64::MAX, ..head };
    assert!(matches!(fault(&last, &first), ImportFault::OutOfOrder { .. }));
}

#[test]
fn a_block_that_does_not_extend_the_head_is_invalid() {
    let case = Case::first(Fork::Prague, 1);
    let head = Head { block_hash: B256::ZERO, ..genesis_head(&case) };
    let found = fault(&head, &case);
    assert!(matches!(found, ImportFault::ParentLink { height: 1, expected: B256::ZERO, .. }));
    assert!(matches!(PayloadStatus::from(found), PayloadStatus::Invalid(_)));
}

#[test]
fn time_must_advance() {
    let case = Case::first(Fork::Cancun, 1);
    for timestamp in [case.expected.timestamp, case.expected.timestamp + 1] {
        let head = Head { timestamp, ..genesis_head(&case) };
        assert!(matches!(fault(&head, &case), ImportFault::Timestamp { height: 1, .. }));
    }
}

#[test]
fn block_numbers_have_no_gap() {
    for number in [0, 2, u64::MAX] {
        let mut case = Case::first(Fork::Prague, 1);
        reseal(&mut case, |payload| payload.payload_inner.payload_inner.block_number = number);
        let found = fault(&genesis_head(&case), &case);
        assert!(matches!(found, ImportFault::BlockNumber { head: 0, got, .. } if got == number), "{found:?}");
        assert!(matches!(PayloadStatus::from(found), PayloadStatus::Invalid(_)));
    }
}

#[test]
fn garbage_in_a_certified_block_is_the_chains_fault() {
    let mut case = Case::first(Fork::Cancun, 1);
    reseal(&mut case, |payload| {
        payload.payload_inner.payload_inner.transactions[0] = AlloyBytes::from_static(&[0x03, 0xff]);
    });
    let found = fault(&genesis_head(&case), &case);
    assert!(matches!(found, ImportFault::Block { source: BlockFault::Transaction { index: 0, .. }, .. }));
    assert!(matches!(PayloadStatus::from(found), PayloadStatus::Invalid(_)));
}

#[test]
fn damaged_local_data_does_not_accuse_the_chain() {
    let case = Case::first(Fork::Prague, 1);
    let head = genesis_head(&case);

    let block = ImportBlock::of(case.expected.clone(), case.import_block().payload().slice(1..), Vec::new());
    let found = next_head(&head, &block).unwrap_err();
    assert!(matches!(PayloadStatus::from(found), PayloadStatus::Uncertified(_)));

    for requests in [vec![Bytes::from_static(&[0, 1])], vec![Bytes::new()]] {
        let block = case.import_block_with(requests);
        let found = next_head(&head, &block).unwrap_err();
        assert!(matches!(found, ImportFault::Requests { height: 1, .. }));
        assert!(matches!(PayloadStatus::from(found), PayloadStatus::Uncertified(_)));
    }
}

#[test]
fn execution_requests_are_bound_at_prague_and_forbidden_at_cancun() {
    let requests = vec![Bytes::from_static(&[0, 1, 2]), Bytes::from_static(&[2, 9])];

    let mut case = Case::first(Fork::Prague, 1);
    case.expected.requests_hash = crate::execution::requests_hash(&requests).unwrap();
    reseal(&mut case, |_| {});
    let block = case.import_block_with(requests.clone());
    assert_eq!(next_head(&genesis_head(&case), &block).unwrap().height, 1);

    let mut case = Case::first(Fork::Cancun, 1);
    case.expected.requests_hash = crate::execution::requests_hash(&requests).unwrap();
    let block = case.import_block_with(requests);
    let found = next_head(&genesis_head(&case), &block).unwrap_err();
    assert!(matches!(found, ImportFault::Requests { source: RequestsFault::BeforePrague { count: 2 }, .. }));
    assert!(matches!(PayloadStatus::from(found), PayloadStatus::Invalid(_)));
}

#[test]
fn a_head_survives_its_stored_form() {
    for case in [Case::first(Fork::Cancun, 0), Case::first(Fork::Prague, 3)] {
        let head = next_head(&genesis_head(&case), &case.import_block()).unwrap();
        assert_eq!(head.to_bytes().len(), Head::BYTES);
        assert_eq!(Head::from_bytes(&head.to_bytes()), Ok(head));
    }
}

#[test]
fn stored_heads_of_other_formats_and_damaged_ones_are_named() {
    let bytes = Head::genesis(B256::repeat_byte(9), 5).to_bytes();
    assert_eq!(Head::from_bytes(&[]), Err(HeadFormatError::Empty));
    assert_eq!(Head::from_bytes(&bytes[..64]), Err(HeadFormatError::Length { length: 64 }));
    assert_eq!(Head::from_bytes(&[&bytes[..], &[0]].concat()), Err(HeadFormatError::Length { length: 66 }));
    assert_eq!(Head::from_bytes(&[2, 1, 1]), Err(HeadFormatError::Format { format: 2 }));
    for at in 1..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x10;
        assert_eq!(Head::from_bytes(&damaged), Err(HeadFormatError::Damaged), "byte {at}");
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_not_a_head(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
        prop_assert!(Head::from_bytes(&bytes).is_err());
    }

    #[test]
    fn every_head_survives_its_stored_form(height: u64, block_number: u64, timestamp: u64, hash: [u8; 32]) {
        let head = Head { height, block_hash: B256::new(hash), block_number, timestamp };
        prop_assert_eq!(Head::from_bytes(&head.to_bytes()), Ok(head));
    }
}

#[tokio::test]
async fn the_engine_moves_its_head_with_each_block_and_only_then() {
    let builder = builder(Fork::Cancun);
    let first = Case::first(Fork::Cancun, 1);
    let second = Case::after(&builder, &first.built.as_parent, Fork::Cancun, 6);
    let mut engine: Box<dyn ExecutionEngine> = Box::new(Embedded::new(genesis_head(&first)));
    assert_eq!(engine.name(), "embedded");

    assert!(matches!(engine.new_payload(&second.import_block()).await, PayloadStatus::Unavailable(_)));
    assert_eq!(engine.head(), Some(genesis_head(&first)));

    for (height, case) in [(1, &first), (1, &first), (2, &second)] {
        let PayloadStatus::Valid { head } = engine.new_payload(&case.import_block()).await else { panic!("not valid") };
        assert_eq!(head, engine.head());
        assert_eq!(head.unwrap().height, height);
    }
}

#[tokio::test]
async fn a_data_node_takes_everything_and_keeps_no_head() {
    let mut engine: Box<dyn ExecutionEngine> = Box::new(NoEngine);
    let block = ImportBlock::of(Case::first(Fork::Cancun, 1).expected, Bytes::new(), Vec::new());
    assert!(matches!(engine.new_payload(&block).await, PayloadStatus::Valid { head: None }));
    assert_eq!(engine.head(), None);
    assert_eq!(engine.name(), "none");
}

/// A value and an envelope as a proposer would make them.
fn decided(built: &BuiltBlock, attributes: &BlockAttributes<'_>, commitments: &[Bytes48]) -> (Value, PayloadEnvelope) {
    let mut value = Value {
        height: 1,
        timestamp: attributes.timestamp,
        parent_value_id: Bytes32::from(attributes.parent_beacon_block_root.0),
        block_hash: Bytes32::from(built.as_parent.hash.0),
        parent_block_hash: Bytes32::from(built_parent_hash(built).0),
        payload_digest: Bytes32::from(crate::execution::fixtures::digest(&built.payload).0),
        payload_size: built.payload.len() as u64,
        requests_hash: Bytes32::from(built.requests_hash.0),
        ..Value::default()
    };
    commitments.iter().for_each(|commitment| value.blob_kzg_commitments.push(*commitment));
    let envelope = PayloadEnvelope {
        height: 1,
        value_id: value.id(),
        payload: ByteList::new(built.payload.clone()).unwrap(),
        ..PayloadEnvelope::default()
    };
    (value, envelope)
}

fn built_parent_hash(built: &BuiltBlock) -> B256 {
    ExecutionPayloadV3::from_ssz_bytes(&built.payload).unwrap().payload_inner.payload_inner.parent_hash
}

#[test]
fn commitments_of_a_decided_value_are_those_of_its_block() {
    for fork in [Fork::Cancun, Fork::Prague] {
        let builder = builder(fork);
        let parent = builder.genesis(GENESIS_TIME).unwrap();
        let commitments: Vec<Bytes48> = (0..7).map(|byte| Bytes48::from([byte; 48])).collect();
        let hashes: Vec<B256> = commitments.iter().map(|one| B256::new(versioned_hash(one).0)).collect();
        let attributes = attributes(&parent, &hashes);
        let built = builder.build(&parent, &attributes).unwrap();

        let (mut value, envelope) = decided(&built, &attributes, &commitments);
        let block = ImportBlock::new(&value, &envelope, forks(fork)).unwrap();
        assert_eq!(*block.expected(), ExpectedBlock::from_value(&value, forks(fork)).unwrap());
        assert_eq!(next_head(&Head::genesis(parent.hash, GENESIS_TIME), &block).unwrap().height, 1);

        let (first, last) = (value.blob_kzg_commitments[0], value.blob_kzg_commitments[6]);
        value.blob_kzg_commitments[0] = last;
        value.blob_kzg_commitments[6] = first;
        let block = ImportBlock::new(&value, &envelope, forks(fork)).unwrap();
        assert!(matches!(
            next_head(&Head::genesis(parent.hash, GENESIS_TIME), &block),
            Err(ImportFault::Block { source: BlockFault::VersionedHash { index: 0, .. }, .. })
        ));
        value.timestamp = GENESIS_TIME - 1;
        assert!(ImportBlock::new(&value, &envelope, forks(fork)).is_err());
    }
}
