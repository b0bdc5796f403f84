#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use alloy_consensus::transaction::SignerRecoverable;
use alloy_eips::{eip1559::ETHEREUM_BLOCK_GAS_LIMIT_30M, eip2718::Decodable2718};
use alloy_primitives::{U256, address, keccak256};
use alloy_rlp::Encodable;
use alloy_rpc_types_engine::ExecutionPayloadV1;
use ssz::Decode;

use super::*;
use crate::execution::fixtures::{CHAIN_ID, GENESIS_TIME, MAX_BLOBS, attributes, builder, forks, versioned_hashes};

const BOTH_FORKS: [Fork; 2] = [Fork::Cancun, Fork::Prague];

fn payload(built: &BuiltBlock) -> ExecutionPayloadV3 {
    ExecutionPayloadV3::from_ssz_bytes(&built.payload).unwrap()
}

fn transactions(built: &BuiltBlock) -> Vec<EthereumTxEnvelope<TxEip4844>> {
    let block: ExecutionPayloadV1 = payload(built).payload_inner.payload_inner;
    block.transactions.iter().map(|bytes| EthereumTxEnvelope::decode_2718_exact(bytes).unwrap()).collect()
}

fn first_block(fork: Fork, blobs: usize) -> BuiltBlock {
    let builder = builder(fork);
    let parent = builder.genesis(GENESIS_TIME).unwrap();
    builder.build(&parent, &attributes(&parent, &versioned_hashes(blobs))).unwrap()
}

#[test]
fn the_development_account_is_the_one_every_tool_knows() {
    let account = Account::development().unwrap();
    assert_eq!(account.address(), address!("f39Fd6e51aad88F6F4ce6aB8827279cffFb92266"));
    assert!(Account::from_secret(&[0; 32]).is_err());
    assert!(Account::from_secret(&[0xff; 32]).is_err());
}

#[test]
fn each_transaction_is_signed_by_the_account_for_the_chain() {
    let account = Account::development().unwrap();
    for transaction in transactions(&first_block(Fork::Prague, 13)) {
        assert_eq!(transaction.recover_signer().unwrap(), account.address());
        let EthereumTxEnvelope::Eip4844(signed) = &transaction else { panic!("not a blob transaction") };
        assert_eq!(signed.tx().chain_id, CHAIN_ID);
        assert!(signed.signature().normalize_s().is_none(), "high s");
        assert!(signed.tx().max_fee_per_gas >= u128::from(INITIAL_BASE_FEE));
        assert_eq!(signed.tx().max_fee_per_blob_gas, 1);
    }
}

#[test]
fn six_blobs_go_into_a_transaction_and_nonces_count_up_over_blocks() {
    let builder = builder(Fork::Cancun);
    let genesis = builder.genesis(GENESIS_TIME).unwrap();
    let hashes = versioned_hashes(13);
    let first = builder.build(&genesis, &attributes(&genesis, &hashes)).unwrap();
    let second = builder.build(&first.as_parent, &attributes(&first.as_parent, &hashes[..1])).unwrap();

    let mut nonces = Vec::new();
    let mut named = Vec::new();
    for transaction in transactions(&first).into_iter().chain(transactions(&second)) {
        let EthereumTxEnvelope::Eip4844(signed) = transaction else { panic!("not a blob transaction") };
        nonces.push((signed.tx().nonce, signed.tx().blob_versioned_hashes.len()));
        named.extend_from_slice(&signed.tx().blob_versioned_hashes);
    }
    assert_eq!(nonces, [(0, 6), (1, 6), (2, 1), (3, 1)]);
    assert_eq!(named, [&hashes[..], &hashes[..1]].concat());
    assert_eq!(second.as_parent.next_nonce, 4);
}

#[test]
fn the_same_arguments_give_the_same_bytes() {
    assert_eq!(first_block(Fork::Prague, 9), first_block(Fork::Prague, 9));
    assert_ne!(first_block(Fork::Prague, 9).as_parent.hash, first_block(Fork::Cancun, 9).as_parent.hash);
}

/// The header in its RLP field order (yellow paper, EIP-1559, -4895, -4844, -4788, -7685), put together by hand.
fn header_rlp(payload: &ExecutionPayloadV3, built: &BuiltBlock, fork: Fork) -> Vec<u8> {
    let block = &payload.payload_inner.payload_inner;
    let mut fields = Vec::new();
    block.parent_hash.encode(&mut fields);
    keccak256([0xc0]).encode(&mut fields);
    block.fee_recipient.encode(&mut fields);
    block.state_root.encode(&mut fields);
    alloy_consensus::proofs::ordered_trie_root_encoded(&block.transactions).encode(&mut fields);
    block.receipts_root.encode(&mut fields);
    block.logs_bloom.encode(&mut fields);
    0u64.encode(&mut fields);
    for number in [block.block_number, block.gas_limit, block.gas_used, block.timestamp] {
        number.encode(&mut fields);
    }
    block.extra_data.encode(&mut fields);
    block.prev_randao.encode(&mut fields);
    [0u8; 8].encode(&mut fields);
    block.base_fee_per_gas.encode(&mut fields);
    keccak256([0x80]).encode(&mut fields);
    payload.blob_gas_used.encode(&mut fields);
    payload.excess_blob_gas.encode(&mut fields);
    B256::repeat_byte(0xbe).encode(&mut fields);
    if fork == Fork::Prague {
        built.requests_hash.encode(&mut fields);
    }
    let mut header = Vec::new();
    alloy_rlp::Header { list: true, payload_length: fields.len() }.encode(&mut header);
    header.extend_from_slice(&fields);
    header
}

#[test]
fn the_block_hash_is_that_of_the_header() {
    for fork in BOTH_FORKS {
        for blobs in [0, 7] {
            let built = first_block(fork, blobs);
            let payload = payload(&built);
            let hash = keccak256(header_rlp(&payload, &built, fork));
            assert_eq!(built.as_parent.hash, hash, "{fork:?}, {blobs} blobs");
            assert_eq!(payload.payload_inner.payload_inner.block_hash, hash);
        }
    }
}

#[test]
fn attributes_and_parent_end_up_in_the_payload() {
    let builder = builder(Fork::Cancun);
    let parent = builder.genesis(GENESIS_TIME).unwrap();
    let built = builder.build(&parent, &attributes(&parent, &[])).unwrap();
    let block = payload(&built).payload_inner.payload_inner;
    assert_eq!(block.parent_hash, parent.hash);
    assert_eq!(block.block_number, 1);
    assert_eq!(block.timestamp, GENESIS_TIME + 1);
    assert_eq!(block.fee_recipient, Address::repeat_byte(0xfe));
    assert_eq!(block.prev_randao, B256::repeat_byte(0x4a));
    assert_eq!(block.state_root, EMPTY_ROOT_HASH);
    assert_eq!(block.receipts_root, EMPTY_ROOT_HASH);
    assert!(block.transactions.is_empty());
}

#[test]
fn base_fee_follows_the_parents_gas() {
    // An empty parent lowers the fee by an eighth; 30 million gas over a target of 15 raises it by an eighth.
    let built = first_block(Fork::Cancun, 0);
    assert_eq!(built.as_parent.base_fee_per_gas, 875_000_000);
    assert_eq!(payload(&built).payload_inner.payload_inner.base_fee_per_gas, U256::from(875_000_000));

    let builder = builder(Fork::Cancun);
    let full = ParentBlock { gas_used: ETHEREUM_BLOCK_GAS_LIMIT_30M, ..builder.genesis(GENESIS_TIME).unwrap() };
    let built = builder.build(&full, &attributes(&full, &[])).unwrap();
    assert_eq!(built.as_parent.base_fee_per_gas, 1_125_000_000);
}

#[test]
fn excess_blob_gas_is_what_the_parent_used_above_the_target() {
    let blobs = BlobSchedule { target: 3, max: 6, ..BlobSchedule::flat(6) };
    let builder = BlockBuilder::new(CHAIN_ID, forks(Fork::Cancun), blobs, Account::development().unwrap());
    let hashes = versioned_hashes(6);
    let mut parent = builder.genesis(GENESIS_TIME).unwrap();
    let mut excess = Vec::new();
    for count in [6, 6, 0, 0, 4, 0] {
        let built = builder.build(&parent, &attributes(&parent, &hashes[..count])).unwrap();
        assert_eq!(payload(&built).blob_gas_used, count as u64 * 131_072);
        excess.push(payload(&built).excess_blob_gas / 131_072);
        parent = built.as_parent;
    }
    assert_eq!(excess, [0, 3, 6, 3, 0, 1]);
}

#[test]
fn the_blob_fee_is_mainnets_where_the_numbers_are() {
    let schedule = BlobSchedule { target: 3, max: 6, ..BlobSchedule::flat(6) };
    // Vectors of go-ethereum's consensus/misc/eip4844 test of the same function.
    for (excess, fee) in [(0, 1), (2_314_057, 1), (2_314_058, 2), (10 * 1024 * 1024, 23)] {
        assert_eq!(schedule.blob_base_fee(excess), Some(fee));
    }
    assert_eq!(schedule.blob_base_fee(u64::MAX), None);
    assert_eq!(BlobSchedule { base_fee_update_fraction: 0, ..schedule }.blob_base_fee(1), None);
}

#[test]
fn full_blocks_for_ever_keep_the_blob_fee_down_under_a_flat_schedule() {
    let builder = builder(Fork::Prague);
    let hashes = versioned_hashes(usize::try_from(MAX_BLOBS).unwrap());
    let mut parent = builder.genesis(GENESIS_TIME).unwrap();
    for _ in 0..3 {
        let built = builder.build(&parent, &attributes(&parent, &hashes)).unwrap();
        assert_eq!(built.as_parent.excess_blob_gas, 0);
        assert_eq!(built.as_parent.gas_used, 171 * 21_000);
        parent = built.as_parent;
    }
}

#[test]
fn what_cannot_be_built_is_refused() {
    let builder = builder(Fork::Cancun);
    let parent = builder.genesis(GENESIS_TIME).unwrap();
    let hashes = versioned_hashes(1025);
    let build = |parent: &ParentBlock, attributes| builder.build(parent, &attributes).unwrap_err();

    assert!(matches!(
        build(&parent, attributes(&parent, &hashes)),
        BuildError::TooManyBlobs { count: 1025, max: 1024 }
    ));
    let same_time = BlockAttributes { timestamp: parent.timestamp, ..attributes(&parent, &[]) };
    assert!(matches!(build(&parent, same_time), BuildError::Timestamp { .. }));
    let small = ParentBlock { gas_limit: 41_999, ..parent };
    assert!(matches!(
        build(&small, attributes(&small, &hashes[..7])),
        BuildError::GasLimit { used: 42_000, limit: 41_999 }
    ));
    let last = ParentBlock { number: u64::MAX, ..parent };
    assert!(matches!(build(&last, attributes(&last, &[])), BuildError::Exhausted));
    let spent = ParentBlock { next_nonce: u64::MAX, ..parent };
    assert!(matches!(build(&spent, attributes(&spent, &hashes[..7])), BuildError::Exhausted));
    let dear = ParentBlock { excess_blob_gas: u64::MAX, ..parent };
    assert!(matches!(build(&dear, attributes(&dear, &hashes[..1])), BuildError::BlobFee { .. }));
    let old = ParentBlock { timestamp: 0, ..parent };
    assert!(matches!(build(&old, attributes(&old, &[])), BuildError::Fork(_)));
    assert!(matches!(builder.genesis(GENESIS_TIME - 1), Err(BuildError::Fork(_))));
}
