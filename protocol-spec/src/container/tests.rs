#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use proptest::prelude::*;
use ssz_rs::prelude::*;

use crate::{ByteList, Bytes32, decode, encode};

/// Every kind of field in one container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Mixed {
    number: u64,
    text: ByteList<16>,
    root: Bytes32,
    list: List<u16, 8>,
    flag: u8,
}

ssz_container!(Mixed { number: u64, text: ByteList<16>, root: Bytes32, list: List<u16, 8>, flag: u8 });

/// The same as `ssz_rs` derives it.
#[derive(Clone, Debug, Default, PartialEq, Eq, SimpleSerialize)]
struct Twin {
    number: u64,
    text: List<u8, 16>,
    root: Vector<u8, 32>,
    list: List<u16, 8>,
    flag: u8,
}

/// Offset of `text`, then of `list`, in the head.
const OFFSETS: [usize; 2] = [8, 44];
const HEAD: u32 = 8 + 4 + 32 + 4 + 1;

fn sample() -> Mixed {
    Mixed {
        number: 1,
        text: ByteList::new(&b"abc"[..]).unwrap(),
        root: [2; 32].into(),
        list: vec![3, 4].try_into().unwrap(),
        flag: 5,
    }
}

/// The encoding of the sample with other offsets.
fn with_offsets(text: u32, list: u32) -> Vec<u8> {
    let mut encoding = encode(&sample());
    for (at, offset) in OFFSETS.into_iter().zip([text, list]) {
        encoding[at..at + 4].copy_from_slice(&offset.to_le_bytes());
    }
    encoding
}

proptest! {
    #[test]
    fn encodes_and_hashes_as_ssz_rs_does(
        number: u64,
        text in prop::collection::vec(any::<u8>(), 0..=16),
        root: [u8; 32],
        list in prop::collection::vec(any::<u16>(), 0..=8),
        flag: u8,
    ) {
        let ours = Mixed {
            number,
            text: ByteList::new(text.clone()).unwrap(),
            root: root.into(),
            list: list.clone().try_into().unwrap(),
            flag,
        };
        let mut twin = Twin {
            number,
            text: text.try_into().unwrap(),
            root: root.to_vec().try_into().unwrap(),
            list: list.try_into().unwrap(),
            flag,
        };
        let encoding = encode(&ours);
        prop_assert_eq!(&encoding, &encode(&twin));
        prop_assert_eq!(&decode::<Mixed>(&encoding).unwrap(), &ours);
        let (root, expected) = (crate::ssz::hash_tree_root(&ours), twin.hash_tree_root().unwrap());
        prop_assert_eq!(root.as_slice(), expected.as_ref());
    }

    #[test]
    fn any_offsets_are_refused_or_canonical(text: u32, list in any::<u32>(), near_text in 0..80_u32, near_list in 0..80_u32) {
        for (text, list) in [(text, list), (near_text, near_list), (HEAD, near_list), (HEAD, list)] {
            let encoding = with_offsets(text, list);
            if let Ok(decoded) = decode::<Mixed>(&encoding) {
                prop_assert_eq!(encode(&decoded), encoding);
            }
        }
    }
}

#[test]
fn encoding_is_appended() {
    let mut buffer = vec![9, 9, 9];
    let written = sample().serialize(&mut buffer).unwrap();
    assert_eq!(buffer[3..], encode(&sample()));
    assert_eq!(written, buffer.len() - 3);
}

#[test]
fn offset_beyond_the_end() {
    // The decoder that `ssz_rs` derives subtracts here and panics wherever overflow is checked.
    for list in [HEAD + 8, 1000, u32::MAX] {
        assert!(decode::<Mixed>(&with_offsets(HEAD, list)).is_err());
    }
    assert!(decode::<Mixed>(&with_offsets(u32::MAX, u32::MAX)).is_err());
}

#[test]
fn offsets_that_run_backwards() {
    assert!(decode::<Mixed>(&with_offsets(HEAD + 3, HEAD)).is_err());
}

#[test]
fn first_offset_inside_the_head() {
    for text in [0, 1, HEAD - 1] {
        assert!(decode::<Mixed>(&with_offsets(text, HEAD + 3)).is_err());
    }
}

#[test]
fn bytes_between_head_and_first_part() {
    assert!(decode::<Mixed>(&with_offsets(HEAD + 1, HEAD + 3)).is_err());
}

#[test]
fn head_that_is_cut_off() {
    let encoding = encode(&sample());
    for length in 0..HEAD as usize {
        assert!(decode::<Mixed>(&encoding[..length]).is_err());
    }
}

#[test]
fn merkle_root_of_one_leaf_is_the_leaf() {
    let leaf = [7; 32];
    assert_eq!(super::merkle_root(vec![leaf]).unwrap().as_ref(), leaf);
    assert_eq!(super::merkle_root(Vec::new()).unwrap().as_ref(), [0; 32]);
}
