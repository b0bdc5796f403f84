#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use proptest::prelude::*;

use super::*;

/// The root that `ssz_rs` computes for a vector of bytes.
fn vector_root<const N: usize>(bytes: [u8; N]) -> Node {
    Vector::<u8, N>::try_from(bytes.to_vec()).unwrap().hash_tree_root().unwrap()
}

proptest! {
    #[test]
    fn roots_are_those_of_byte_vectors(bytes: [u8; 64], short: [u8; 20], word: [u8; 32], point in any::<[[u8; 16]; 3]>()) {
        let point: [u8; 48] = point.as_flattened().try_into().unwrap();
        prop_assert_eq!(FixedBytes(bytes).hash_tree_root().unwrap(), vector_root(bytes));
        prop_assert_eq!(FixedBytes(short).hash_tree_root().unwrap(), vector_root(short));
        prop_assert_eq!(FixedBytes(word).hash_tree_root().unwrap(), vector_root(word));
        prop_assert_eq!(FixedBytes(point).hash_tree_root().unwrap(), vector_root(point));
    }

    #[test]
    fn hex_round_trip(bytes: [u8; 20]) {
        let fixed = Bytes20::from(bytes);
        prop_assert_eq!(Bytes20::from_hex(&fixed.to_string()), Some(fixed));
        prop_assert_eq!(Bytes20::from_hex(&hex::encode_upper(bytes)), Some(fixed));
        prop_assert_eq!(format!("{fixed:?}"), format!("0x{}", hex::encode(bytes)));
    }
}

#[test]
fn hex_of_another_length_or_with_other_characters() {
    for text in ["", "0x", "0x00", &"0".repeat(39), &"0".repeat(41), &"0".repeat(42), &"g".repeat(40), "0X"] {
        assert_eq!(Bytes20::from_hex(text), None, "{text}");
    }
    assert_eq!(Bytes20::from_hex(&format!("0x0x{}", "0".repeat(38))), None);
}

#[test]
fn fixed_bytes_take_exactly_their_length() {
    assert_eq!(Bytes32::from_slice(&[1; 32]), Some(Bytes32::from([1; 32])));
    for length in [0, 31, 33] {
        assert_eq!(Bytes32::from_slice(&vec![1; length]), None);
        assert!(Bytes32::deserialize(&vec![1; length]).is_err());
    }
    assert_eq!(Bytes32::from([1; 32]).as_ref(), Bytes32::deserialize(&[1; 32]).unwrap().as_slice());
    assert_eq!(Bytes32::default(), Bytes32::ZERO);
}

#[test]
fn byte_list_is_bounded() {
    let list = ByteList::<4>::new(vec![1, 2, 3, 4]).unwrap();
    assert_eq!(&list[..], [1, 2, 3, 4]);
    assert!(ByteList::<4>::new(vec![0; 5]).is_none());
    assert!(ByteList::<4>::deserialize(&[0; 5]).is_err());
    assert!(ByteList::<4>::deserialize(&[]).unwrap().is_empty());
    assert_eq!(format!("{list:?}"), "ByteList(4 bytes)");
}

#[test]
fn byte_list_shares_its_buffer() {
    let bytes = Bytes::from(vec![7; 100]);
    let list = ByteList::<100>::new(bytes.clone()).unwrap();
    assert_eq!(list.clone().as_bytes().as_ptr(), bytes.as_ptr());
}

#[test]
fn byte_list_root_mixes_in_the_length() {
    let root = |bytes: &[u8]| ByteList::<64>::new(bytes.to_vec()).unwrap().hash_tree_root().unwrap();
    assert_ne!(root(&[]), root(&[0]));
    assert_ne!(root(&[1]), root(&[1, 0]));
}
