#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use proptest::prelude::*;
use ssz_rs::prelude::*;

use super::*;

/// `Value` out of nothing but types of `ssz_rs`.
#[derive(Clone, Debug, Default, PartialEq, Eq, SimpleSerialize)]
struct Twin {
    height: u64,
    timestamp: u64,
    parent_value_id: Vector<u8, 32>,
    proposer: Vector<u8, 20>,
    validators_root: Vector<u8, 32>,
    next_validators_root: Vector<u8, 32>,
    block_hash: Vector<u8, 32>,
    parent_block_hash: Vector<u8, 32>,
    payload_digest: Vector<u8, 32>,
    payload_size: u64,
    requests_hash: Vector<u8, 32>,
    blob_kzg_commitments: List<Vector<u8, 48>, 4096>,
}

fn filled<const N: usize>(seed: u8, position: u8) -> [u8; N] {
    std::array::from_fn(|at| seed.wrapping_mul(31).wrapping_add(position).wrapping_add(u8::try_from(at).unwrap()))
}

fn vector<const N: usize>(bytes: [u8; N]) -> Vector<u8, N> {
    bytes.to_vec().try_into().unwrap()
}

fn pair(seed: u8, numbers: [u64; 3], blobs: u8) -> (Value, Twin) {
    let [height, timestamp, payload_size] = numbers;
    let ours = Value {
        height,
        timestamp,
        parent_value_id: filled(seed, 1).into(),
        proposer: filled(seed, 2).into(),
        validators_root: filled(seed, 3).into(),
        next_validators_root: filled(seed, 4).into(),
        block_hash: filled(seed, 5).into(),
        parent_block_hash: filled(seed, 6).into(),
        payload_digest: filled(seed, 7).into(),
        payload_size,
        requests_hash: filled(seed, 8).into(),
        blob_kzg_commitments: (0..blobs).map(|at| filled(seed, at).into()).collect::<Vec<_>>().try_into().unwrap(),
    };
    let twin = Twin {
        height,
        timestamp,
        parent_value_id: vector(filled(seed, 1)),
        proposer: vector(filled(seed, 2)),
        validators_root: vector(filled(seed, 3)),
        next_validators_root: vector(filled(seed, 4)),
        block_hash: vector(filled(seed, 5)),
        parent_block_hash: vector(filled(seed, 6)),
        payload_digest: vector(filled(seed, 7)),
        payload_size,
        requests_hash: vector(filled(seed, 8)),
        blob_kzg_commitments: (0..blobs).map(|at| vector(filled(seed, at))).collect::<Vec<_>>().try_into().unwrap(),
    };
    (ours, twin)
}

proptest! {
    #[test]
    fn id_is_the_root_that_ssz_rs_computes(seed: u8, numbers: [u64; 3], blobs in 0..40_u8) {
        let (ours, mut twin) = pair(seed, numbers, blobs);
        prop_assert_eq!(ssz::encode(&ours), ssz::encode(&twin));
        let (id, expected) = (ours.id(), twin.hash_tree_root().unwrap());
        prop_assert_eq!(id.as_slice(), expected.as_ref());
    }
}

#[test]
fn commitments_and_hashes_in_order() {
    let (value, _) = pair(1, [1, 2, 3], 3);
    assert_eq!(value.blob_count(), 3);
    assert_eq!(value.commitment(2), value.blob_kzg_commitments.last());
    assert_eq!((value.commitment(3), value.commitment(u64::MAX)), (None, None));
    let hashes: Vec<_> = value.versioned_hashes().collect();
    assert_eq!(hashes, value.blob_kzg_commitments.iter().map(versioned_hash).collect::<Vec<_>>());
}

#[test]
fn more_commitments_than_the_list_holds() {
    let mut value = pair(1, [1, 2, 3], 0).0;
    value.blob_kzg_commitments = vec![Bytes48::ZERO; MAX_BLOBS_PER_BLOCK].try_into().unwrap();
    let mut encoding = ssz::encode(&value);
    assert_eq!(ssz::decode::<Value>(&encoding).unwrap(), value);
    encoding.extend([0; 48]);
    assert!(ssz::decode::<Value>(&encoding).is_err());
}

#[test]
fn identified_value_carries_the_recomputed_id() {
    let (value, _) = pair(9, [4, 5, 6], 2);
    let identified = IdentifiedValue::new(Arc::new(value.clone()));
    assert_eq!((*identified.id(), &**identified.value()), (value.id(), &value));
}
