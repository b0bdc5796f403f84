#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use alloy_consensus::{SignableTransaction, TxEip7702, TxLegacy};
use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{Signature, U256, b256};
use proptest::prelude::*;
use ssz::Encode;

use super::{layout::FIXED_BYTES, *};
use crate::execution::{
    fixtures::{Case, digest, versioned_hashes},
    fork::Fork,
};

const BOTH_FORKS: [Fork; 2] = [Fork::Cancun, Fork::Prague];

/// A block from a public test network, made by geth: a fee market transaction and a blob transaction with six blobs.
const GETH_BLOCK: &[u8] = include_bytes!("testdata/cancun_block.ssz");

fn geth_expected() -> ExpectedBlock {
    ExpectedBlock {
        height: 1,
        block_hash: b256!("a5ddd3f286f429458a39cafc13ffe89295a7efa8eb363cf89a1a4887dbcf272b"),
        parent_block_hash: b256!("d829192799c73ef28a7332313b3c03af1f2d5da2c36f8ecfafe7a83a3bfb8d1e"),
        parent_beacon_block_root: b256!("531cd53b8e68deef0ea65edfa3cda927a846c307b0907657af34bc3f313b5871"),
        timestamp: 1_696_544_184,
        fork: Fork::Cancun,
        payload_size: GETH_BLOCK.len() as u64,
        payload_digest: digest(GETH_BLOCK),
        requests_hash: alloy_eips::eip7685::EMPTY_REQUESTS_HASH,
        versioned_hashes: vec![
            b256!("0195f6dff17753fc89b60eac6477026a805116962c9e412de8015c0484e661c1"),
            b256!("01aae314061d4f5bbf158f15d9417a238f9589783f58762cd39d05966b3ba2fb"),
            b256!("013f5be9b12e7da06f0dd11a7bdc4e0db8ef33832acc23b183bd0a2c1408a757"),
            b256!("019d9ac55ea1a615d92965e04d960cb3be7bff121a381424f1f22865bd582e09"),
            b256!("01def04412e76df26fefe7b0ed5e10580918ae4f355b074c0cfe5d0259157869"),
            b256!("011c11a415db57e43db07aef0de9280b591d65ca0cce36c7002507f8191e5d4a"),
        ],
    }
}

fn fault(case: &Case) -> BlockFault {
    check_payload(&case.built.payload, &case.expected).expect_err("an altered payload is accepted")
}

/// Decodes the case's payload, alters it, and certifies the result; the certified block hash stays.
fn alter(case: &mut Case, change: impl FnOnce(&mut ExecutionPayloadV3)) {
    let mut payload = ExecutionPayloadV3::from_ssz_bytes(&case.built.payload).unwrap();
    change(&mut payload);
    case.certify(payload.as_ssz_bytes());
}

fn block(payload: &mut ExecutionPayloadV3) -> &mut ExecutionPayloadV1 {
    &mut payload.payload_inner.payload_inner
}

#[test]
fn a_block_of_another_implementation_is_accepted() {
    let checked = check_payload(GETH_BLOCK, &geth_expected()).unwrap();
    assert_eq!(checked.block_number(), 0xa946);
    assert_eq!(checked.timestamp(), 1_696_544_184);
    assert_eq!(checked.block_hash(), geth_expected().block_hash);
    assert_eq!(checked.payload().as_ssz_bytes(), GETH_BLOCK);
}

#[test]
fn the_parent_value_id_is_part_of_the_block_hash() {
    let expected = ExpectedBlock { parent_beacon_block_root: B256::ZERO, ..geth_expected() };
    assert!(matches!(check_payload(GETH_BLOCK, &expected), Err(BlockFault::ComputedHash { .. })));
}

#[test]
fn the_fork_decides_whether_requests_are_part_of_the_block_hash() {
    let expected = ExpectedBlock { fork: Fork::Prague, ..geth_expected() };
    assert!(matches!(check_payload(GETH_BLOCK, &expected), Err(BlockFault::ComputedHash { .. })));

    let mut case = Case::first(Fork::Prague, 1);
    case.expected.requests_hash = B256::repeat_byte(7);
    assert!(matches!(fault(&case), BlockFault::ComputedHash { .. }));
}

#[test]
fn built_blocks_of_any_number_of_blobs_are_accepted() {
    for fork in BOTH_FORKS {
        for blobs in [0, 1, 6, 9, 1024] {
            let case = Case::first(fork, blobs);
            let checked = check_payload(&case.built.payload, &case.expected).unwrap();
            assert_eq!(checked.block_number(), 1);
            assert_eq!(checked.block_hash(), case.built.as_parent.hash);
            assert_eq!(checked.payload().blob_gas_used, blobs as u64 * 131_072);
        }
    }
}

#[test]
fn bytes_that_were_not_certified_are_told_apart_from_a_bad_block() {
    let mut case = Case::first(Fork::Cancun, 2);
    case.built.payload.push(0);
    assert!(matches!(fault(&case), BlockFault::Size { .. }));
    assert!(fault(&case).is_uncertified_bytes());

    let mut case = Case::first(Fork::Cancun, 2);
    *case.built.payload.last_mut().unwrap() ^= 1;
    assert!(matches!(fault(&case), BlockFault::Digest { .. }));
    assert!(fault(&case).is_uncertified_bytes());

    let mut case = Case::first(Fork::Cancun, 2);
    case.expected.block_hash = B256::ZERO;
    assert!(!fault(&case).is_uncertified_bytes());
}

#[test]
fn each_altered_field_has_its_own_fault() {
    type Change = fn(&mut ExecutionPayloadV3);
    type IsFault = fn(&BlockFault) -> bool;
    let cases: [(&str, Change, IsFault); 9] = [
        ("block hash", |p| block(p).block_hash = B256::ZERO, |f| matches!(f, BlockFault::AdvertisedHash { .. })),
        ("parent hash", |p| block(p).parent_hash = B256::ZERO, |f| matches!(f, BlockFault::ParentHash { .. })),
        ("timestamp", |p| block(p).timestamp += 1, |f| matches!(f, BlockFault::Timestamp { .. })),
        ("gas used", |p| block(p).gas_used = block(p).gas_limit + 1, |f| matches!(f, BlockFault::GasUsed { .. })),
        ("blob gas", |p| p.blob_gas_used += 131_072, |f| matches!(f, BlockFault::BlobGasUsed { .. })),
        (
            "base fee",
            |p| block(p).base_fee_per_gas = U256::from(u64::MAX) + U256::from(1),
            |f| matches!(f, BlockFault::Header(PayloadError::BaseFee(_))),
        ),
        (
            "extra data",
            |p| block(p).extra_data = vec![0; 33].into(),
            |f| matches!(f, BlockFault::Layout(LayoutFault::ExtraData { length: 33 })),
        ),
        (
            "withdrawals",
            |p| p.payload_inner.withdrawals = vec![Default::default(); 17],
            |f| matches!(f, BlockFault::Layout(LayoutFault::Withdrawals { length: 748 })),
        ),
        (
            "transaction",
            |p| block(p).transactions[1] = vec![0x03, 0xc0, 0xff].into(),
            |f| matches!(f, BlockFault::Transaction { index: 1, .. }),
        ),
    ];
    for (name, change, is_fault) in cases {
        let mut case = Case::first(Fork::Cancun, 9);
        alter(&mut case, change);
        let found = fault(&case);
        assert!(is_fault(&found), "{name}: {found:?}");
    }
}

#[test]
fn what_only_the_hash_binds_is_bound() {
    let changes: [fn(&mut ExecutionPayloadV3); 11] = [
        |p| block(p).fee_recipient.0[0] ^= 1,
        |p| block(p).state_root.0[0] ^= 1,
        |p| block(p).receipts_root.0[0] ^= 1,
        |p| block(p).logs_bloom.0[0] ^= 1,
        |p| block(p).prev_randao.0[0] ^= 1,
        |p| block(p).block_number += 1,
        |p| block(p).gas_limit += 1,
        |p| block(p).extra_data = vec![1].into(),
        |p| block(p).base_fee_per_gas += U256::from(1),
        |p| p.excess_blob_gas += 1,
        |p| p.payload_inner.withdrawals.push(Default::default()),
    ];
    for (position, change) in changes.into_iter().enumerate() {
        for fork in BOTH_FORKS {
            let mut case = Case::first(fork, 1);
            alter(&mut case, change);
            let found = fault(&case);
            assert!(matches!(found, BlockFault::ComputedHash { .. }), "change {position}: {found:?}");
        }
    }
}

#[test]
fn versioned_hashes_are_compared_in_order() {
    let mut case = Case::first(Fork::Prague, 9);
    case.expected.versioned_hashes.swap(2, 7);
    assert!(matches!(fault(&case), BlockFault::VersionedHash { index: 2, .. }));

    let mut case = Case::first(Fork::Prague, 9);
    case.expected.versioned_hashes[8] = B256::ZERO;
    assert!(matches!(fault(&case), BlockFault::VersionedHash { index: 8, .. }));
}

#[test]
fn one_blob_more_or_less_is_a_wrong_count() {
    for (transactions_name, certified) in [(5, 6), (7, 6), (0, 1), (1, 0)] {
        let mut case = Case::first(Fork::Cancun, transactions_name);
        case.expected.versioned_hashes = versioned_hashes(certified);
        let blob_gas = certified as u64 * 131_072;
        assert!(matches!(fault(&case), BlockFault::BlobGasUsed { expected, .. } if expected == blob_gas));
        alter(&mut case, |payload| payload.blob_gas_used = blob_gas);
        let found = fault(&case);
        assert!(
            matches!(found, BlockFault::BlobCount { expected, got } if expected == certified && got == transactions_name),
            "{found:?}"
        );
    }
}

#[test]
fn a_transaction_with_bytes_after_it_is_refused() {
    let mut case = Case::first(Fork::Cancun, 1);
    alter(&mut case, |payload| {
        let mut transaction = block(payload).transactions[0].to_vec();
        transaction.push(0);
        block(payload).transactions[0] = transaction.into();
    });
    assert!(matches!(fault(&case), BlockFault::Transaction { index: 0, .. }));
}

#[test]
fn an_empty_transaction_is_refused() {
    let mut case = Case::first(Fork::Cancun, 0);
    alter(&mut case, |payload| block(payload).transactions.push(Bytes::new()));
    assert!(matches!(fault(&case), BlockFault::Transaction { index: 0, .. }));
}

fn signed<T: SignableTransaction<Signature>>(transaction: T) -> Bytes
where
    EthereumTxEnvelope<TxEip4844>: From<alloy_consensus::Signed<T>>,
{
    let signature = Signature::new(U256::from(1), U256::from(1), false);
    EthereumTxEnvelope::from(transaction.into_signed(signature)).encoded_2718().into()
}

#[test]
fn transactions_are_held_against_the_fork() {
    let set_code = [signed(TxEip7702::default())];
    assert!(matches!(
        blob_versioned_hashes(&set_code, Fork::Cancun),
        Err(BlockFault::TransactionType { index: 0, kind: 4, fork: Fork::Cancun })
    ));
    assert!(blob_versioned_hashes(&set_code, Fork::Prague).unwrap().is_empty());
}

#[test]
fn other_transactions_name_no_blobs_and_a_blob_transaction_must() {
    let named = versioned_hashes(2);
    let blobs = TxEip4844 { blob_versioned_hashes: named.clone(), ..TxEip4844::default() };
    let mixed = [signed(TxLegacy::default()), signed(blobs), signed(TxLegacy::default())];
    assert_eq!(blob_versioned_hashes(&mixed, Fork::Cancun).unwrap(), named);

    let without = [signed(TxLegacy::default()), signed(TxEip4844::default())];
    assert!(matches!(blob_versioned_hashes(&without, Fork::Cancun), Err(BlockFault::NoBlobs { index: 1 })));
}

#[test]
fn truncated_payloads_are_refused_at_every_length() {
    let whole = Case::first(Fork::Cancun, 1).built.payload;
    for length in 0..whole.len() {
        let mut case = Case::first(Fork::Cancun, 1);
        case.certify(whole[..length].to_vec());
        let found = fault(&case);
        if length < FIXED_BYTES {
            assert!(matches!(found, BlockFault::Layout(LayoutFault::Short { .. })), "{length}: {found:?}");
        }
    }
}

#[test]
fn trailing_bytes_are_refused_even_when_certified() {
    let mut case = Case::first(Fork::Cancun, 1);
    let mut payload = case.built.payload.clone();
    payload.push(0);
    case.certify(payload);
    assert!(matches!(fault(&case), BlockFault::Layout(LayoutFault::Withdrawals { length: 1 })));
}

#[test]
fn a_list_that_announces_more_than_it_holds_is_refused_before_it_is_decoded() {
    let mut case = Case::first(Fork::Cancun, 1);
    let mut payload = case.built.payload.clone();
    for announced in [0u32, 2, 0x00ff_fffc, u32::MAX] {
        payload[FIXED_BYTES..FIXED_BYTES + 4].copy_from_slice(&announced.to_le_bytes());
        case.certify(payload.clone());
        let found = fault(&case);
        assert!(matches!(found, BlockFault::Layout(LayoutFault::Transactions { .. })), "{announced}: {found:?}");
    }
}

#[test]
fn offsets_that_do_not_split_the_payload_are_refused() {
    for (at, offset) in [(436, 527u32), (436, 529), (504, 527), (504, u32::MAX), (508, 527), (508, u32::MAX)] {
        let mut case = Case::first(Fork::Cancun, 1);
        let mut payload = case.built.payload.clone();
        payload[at..at + 4].copy_from_slice(&offset.to_le_bytes());
        case.certify(payload);
        assert!(matches!(fault(&case), BlockFault::Layout(LayoutFault::Offsets { .. })), "{at} {offset}");
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2_000), prague in any::<bool>()) {
        let fork = if prague { Fork::Prague } else { Fork::Cancun };
        let expected = ExpectedBlock {
            fork,
            payload_size: bytes.len() as u64,
            payload_digest: digest(&bytes),
            ..geth_expected()
        };
        prop_assert!(check_payload(&bytes, &expected).is_err());
    }

    /// Every payload that differs in one place from a good one is refused, although the value certifies its bytes.
    #[test]
    fn no_changed_byte_goes_unnoticed(at in 0..GETH_BLOCK.len(), change in 1..=u8::MAX) {
        let mut bytes = GETH_BLOCK.to_vec();
        bytes[at] ^= change;
        let expected = ExpectedBlock { payload_digest: digest(&bytes), ..geth_expected() };
        prop_assert!(check_payload(&bytes, &expected).is_err());
    }

    /// What decodes within the bounds has one encoding only.
    #[test]
    fn decoding_is_strict(at in 0..GETH_BLOCK.len(), change in 1..=u8::MAX, cut in 0..64usize) {
        let mut bytes = GETH_BLOCK.to_vec();
        bytes[at] ^= change;
        bytes.truncate(GETH_BLOCK.len() - cut);
        if layout::check_bounds(&bytes).is_ok()
            && let Ok(payload) = ExecutionPayloadV3::from_ssz_bytes(&bytes)
        {
            prop_assert_eq!(payload.as_ssz_bytes(), bytes);
        }
    }

    #[test]
    fn arbitrary_transactions_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), kind in 0..6u8) {
        let mut typed = vec![kind];
        typed.extend_from_slice(&bytes);
        let _ = blob_versioned_hashes(&[bytes.into(), typed.into()], Fork::Prague);
    }
}
