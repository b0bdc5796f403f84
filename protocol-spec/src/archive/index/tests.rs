#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation
)]

use std::ops::RangeInclusive;

use proptest::prelude::*;
use xxhash_rust::xxh3::xxh3_64;

use super::*;
use crate::{
    Bytes48, CommitSignature, Genesis, Validator, ValidatorSet,
    archive::{CHECKSUM_BYTES, FrameKind, PART_SIDECARS},
    encode,
    fixtures::{Committee, genesis},
};

fn chain() -> Genesis {
    genesis(&Committee::equal(2).set)
}

/// A value nobody decided, with so many commitments and signatures.
fn decided(height: Height, blobs: usize, signatures: usize) -> DecidedValue {
    let mut decided = DecidedValue::default();
    decided.value.height = height;
    decided.value.blob_kzg_commitments = vec![Bytes48::from([7; 48]); blobs].try_into().unwrap();
    decided.certificate.signatures = vec![CommitSignature::default(); signatures].try_into().unwrap();
    decided
}

fn set(members: usize) -> ValidatorSet {
    ValidatorSet { validators: vec![Validator::default(); members].try_into().unwrap() }
}

/// What each part of a record can take.
fn bounds(compression: Compression, sets: &[ValidatorSet], decided: &DecidedValue) -> Vec<RangeInclusive<usize>> {
    let blobs = decided.value.blob_count();
    let items = sets.iter().map(|set| encode(set).len()).chain([encode(decided).len()]);
    let payload = 21 + items.map(|item| 5 + item).sum::<usize>() + 5 + if blobs == 0 { 13 } else { 0 };
    let sidecars = (0..blobs).step_by(PART_SIDECARS).map(|first| match blobs - first {
        left @ 0..=16 => left * 131_189 + 13..=left * 131_189 + 13,
        _ => 16 * 131_189..=16 * 131_189,
    });
    let plain = [payload + 48..=payload + 100_663_600].into_iter().chain(sidecars);
    match compression {
        Compression::None => plain.collect(),
        Compression::Zstd => plain.map(|bytes| 1..=bytes.end() + bytes.end() / 128 + 1024).collect(),
    }
}

fn builder(compression: Compression, first: Height, heights: u64) -> IndexBuilder {
    IndexBuilder::new(&Header::new(compression, first, first + heights - 1, chain()).unwrap()).unwrap()
}

/// The longest parts that there can be.
fn longest(compression: Compression, sets: &[ValidatorSet], decided: &DecidedValue) -> Vec<u64> {
    bounds(compression, sets, decided).into_iter().map(|bytes| *bytes.end() as u64).collect()
}

/// Heights from 5 on with so many blobs each, a set at the first and two at the second.
fn index(compression: Compression, blobs: &[usize]) -> Index {
    let mut builder = builder(compression, 5, blobs.len() as u64);
    for (position, blobs) in blobs.iter().enumerate() {
        let sets = [vec![set(1)], vec![set(2), set(3)]].get(position).cloned().unwrap_or_default();
        let decided = decided(5 + position as u64, *blobs, position);
        let parts = longest(compression, &sets, &decided);
        builder.record(sets, decided, &parts).unwrap();
    }
    builder.finish().unwrap()
}

/// With the checksum that the content has.
fn seal(content: &[u8]) -> Vec<u8> {
    [content, &xxh3_64(content).to_le_bytes()].concat()
}

fn unsealed(index: &Index) -> Vec<u8> {
    let mut bytes = index.encode();
    bytes.truncate(bytes.len() - CHECKSUM_BYTES);
    bytes
}

fn fault(bytes: &[u8]) -> IndexFault {
    Index::decode(bytes).unwrap_err().fault
}

#[test]
fn an_index_says_where_everything_is() {
    let index = index(Compression::None, &[0, 1, 16, 17, 33]);
    let read = Index::decode(&index.encode()).unwrap();
    assert_eq!(read, index);
    assert_eq!((read.first(), read.last(), read.compression()), (5, 9, Compression::None));
    assert_eq!(*read.genesis_id(), chain().id());
    let header = Header::new(Compression::None, 5, 9, chain()).unwrap();
    let mut end = header.encode().len() as u64;
    for (height, blobs) in (5..).zip([0, 1, 16, 17, 33]) {
        let record = read.record(height).unwrap();
        let lengths = longest(Compression::None, record.sets(), record.decided());
        let ranges: Vec<_> = [read.payload_part(height).unwrap()]
            .into_iter()
            .chain(record.sidecar_parts().map(|(range, _)| range))
            .collect();
        assert_eq!(ranges.len(), lengths.len());
        for (range, length) in ranges.iter().zip(lengths) {
            assert_eq!(*range, end..end + length);
            end += length;
        }
        for sidecar in 0..blobs {
            let (range, part) = read.sidecar_part(height, sidecar).unwrap();
            assert!(part.indices().contains(&sidecar));
            assert_eq!(range, ranges[1 + sidecar as usize / 16]);
        }
        assert_eq!(read.sidecar_part(height, blobs), None);
    }
    for height in [0, 4, 10, u64::MAX] {
        assert!(read.record(height).is_none() && read.payload_part(height).is_none());
        assert_eq!(read.sidecar_part(height, 0), None);
    }
}

#[test]
fn no_index_is_longer_than_the_bound() {
    assert_eq!(MAX_INDEX_BYTES, 23_419_404);
    let mut builder = builder(Compression::Zstd, 1, 1);
    let sets = vec![set(MAX_VALIDATORS), set(MAX_VALIDATORS)];
    let largest = decided(1, MAX_BLOBS_PER_BLOCK, MAX_VALIDATORS);
    let parts = longest(Compression::Zstd, &sets, &largest);
    builder.record(sets, largest, &parts).unwrap();
    let bytes = builder.finish().unwrap().encode();
    assert_eq!(bytes.len(), HEAD_BYTES + MAX_RECORD_BYTES + CHECKSUM_BYTES);
    assert!(Index::decode(&bytes).is_ok());
    assert!(matches!(fault(&vec![0; MAX_INDEX_BYTES + 1]), IndexFault::TooLong(_)));
    assert!(matches!(fault(&vec![0; MAX_INDEX_BYTES]), IndexFault::NotAnIndex));
}

#[test]
fn an_archive_of_many_heights_has_no_index() {
    let of = |heights| IndexBuilder::new(&Header::new(Compression::None, 1, heights, chain()).unwrap());
    assert!(of(64).is_ok());
    assert!(matches!(of(65), Err(IndexFault::Heights(65))));
    assert!(matches!(of(u64::MAX - 1), Err(IndexFault::Heights(_))));
}

#[test]
fn a_builder_takes_what_a_reader_takes() {
    let parts = |decided| longest(Compression::None, &[], decided);
    let [first, second] = [decided(5, 17, 0), decided(6, 0, 0)];
    let mut builder = builder(Compression::None, 5, 2);
    let refused = |builder: &mut IndexBuilder, sets, decided: &DecidedValue, parts: &[u64]| {
        builder.record(sets, decided.clone(), parts).unwrap_err()
    };
    assert!(matches!(refused(&mut builder, vec![], &second, &parts(&second)), IndexFault::Height { found: 6, due: 5 }));
    assert!(matches!(refused(&mut builder, vec![set(1); 3], &first, &parts(&first)), IndexFault::Sets(3)));
    assert!(matches!(
        refused(&mut builder, vec![], &first, &parts(&first)[..2]),
        IndexFault::Parts { found: 2, due: 3 }
    ));
    let mut long = parts(&first);
    long[2] = 1 << 40;
    assert!(matches!(
        refused(&mut builder, vec![], &first, &long),
        IndexFault::PartLength { part: 2, length: 0x100_0000_0000 }
    ));
    builder.record(vec![], first.clone(), &parts(&first)).unwrap();
    assert!(matches!(builder.clone().finish(), Err(IndexFault::Missing(6))));
    builder.record(vec![], second.clone(), &parts(&second)).unwrap();
    let third = decided(7, 0, 0);
    assert!(matches!(refused(&mut builder, vec![], &third, &parts(&third)), IndexFault::Behind(6)));
    assert_eq!(builder.finish().unwrap().records().len(), 2);
}

#[test]
fn a_part_takes_what_it_can_and_no_more() {
    for compression in [Compression::None, Compression::Zstd] {
        let sets = vec![set(4)];
        let decided = decided(5, 33, 2);
        let bounds = bounds(compression, &sets, &decided);
        for (part, bytes) in bounds.iter().enumerate() {
            let lengths =
                [(bytes.start() - 1, false), (*bytes.start(), true), (*bytes.end(), true), (bytes.end() + 1, false)];
            for (length, is_possible) in lengths {
                let mut parts = longest(compression, &sets, &decided);
                parts[part] = length as u64;
                let mut builder = builder(compression, 5, 1);
                let taken = builder.record(sets.clone(), decided.clone(), &parts).is_ok();
                assert_eq!(taken, is_possible, "{compression:?}: part {part} of {length} bytes");
            }
        }
    }
}

#[test]
fn no_byte_can_be_changed_unnoticed() {
    let bytes = index(Compression::Zstd, &[0, 2, 17]).encode();
    for position in 0..bytes.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut damaged = bytes.clone();
            damaged[position] ^= flip;
            assert!(Index::decode(&damaged).is_err(), "byte {position} xor {flip:#x}");
        }
        assert!(Index::decode(&bytes[..position]).is_err(), "{position} bytes");
    }
    assert!(matches!(fault(&[bytes.as_slice(), &[0]].concat()), IndexFault::Checksum));
}

#[test]
fn nothing_may_follow_the_last_record() {
    let mut content = unsealed(&index(Compression::Zstd, &[0, 2]));
    let end = content.len();
    content.push(0);
    let error = Index::decode(&seal(&content)).unwrap_err();
    assert!(matches!(error, IndexError { offset, height: None, fault: IndexFault::AfterEnd } if offset == end));
}

#[test]
fn an_error_names_byte_and_height() {
    let mut content = unsealed(&index(Compression::None, &[0, 2]));
    let second = content.len() - (5 + 332 + 2 * 48 + 84 + 2 * 4);
    // The kind of the second value's frame, behind two sets.
    content[second] = 9;
    let error = Index::decode(&seal(&content)).unwrap_err();
    assert_eq!((error.offset, error.height), (second - 2 * (5 + 4) - 5 * 40, Some(6)));
    let text = format!("at byte {}, height 6: frame of kind 9, due is a decided value", error.offset);
    assert_eq!(error.to_string(), text);
}

/// A length that no item of the kind can have is refused before anything is reserved for it, and one that it can have
/// takes no memory when the bytes are not there.
#[test]
fn a_length_that_is_a_lie_takes_no_memory() {
    let mut head = unsealed(&index(Compression::None, &[0]));
    head.truncate(HEAD_BYTES);
    for kind in [FrameKind::ValidatorSet, FrameKind::DecidedValue] {
        let most = u32::try_from(kind.bounds().max()).unwrap();
        for (length, is_possible) in [(most, true), (most + 1, false), (u32::MAX, false)] {
            let frame = [&[kind.byte()][..], &length.to_le_bytes(), &[0; 100]].concat();
            let bytes = seal(&[head.as_slice(), &frame].concat());
            let measured = allocation_counter::measure(|| match fault(&bytes) {
                IndexFault::Truncated => assert!(is_possible),
                IndexFault::Length { .. } => assert!(!is_possible),
                other => panic!("{other}"),
            });
            assert!(measured.bytes_max < 1024, "{} bytes", measured.bytes_max);
        }
    }
}

/// Any index: its compression, and blobs, signatures, members of sets, and where in its bounds each length is.
fn any_index() -> impl Strategy<Value = Index> {
    let record = (0_usize..40, 0_usize..4, prop::collection::vec(0_usize..4, 0..=2), any::<prop::sample::Index>());
    (any::<bool>(), 1..u64::MAX - 100, prop::collection::vec(record, 1..6)).prop_map(|(packed, first, records)| {
        let compression = if packed { Compression::Zstd } else { Compression::None };
        let mut builder = builder(compression, first, records.len() as u64);
        for (height, (blobs, signatures, members, at)) in (first..).zip(records) {
            let sets: Vec<_> = members.into_iter().map(set).collect();
            let decided = decided(height, blobs, signatures);
            let lengths = bounds(compression, &sets, &decided);
            let parts: Vec<_> =
                lengths.iter().map(|b| (b.start() + at.index(b.end() - b.start() + 1)) as u64).collect();
            builder.record(sets, decided, &parts).unwrap();
        }
        builder.finish().unwrap()
    })
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded(index in any_index()) {
        let bytes = index.encode();
        prop_assert!(bytes.len() <= MAX_INDEX_BYTES);
        prop_assert_eq!(Index::decode(&bytes).unwrap(), index);
    }

    /// A forger writes checksums as they should be; what is read then is what was written, to the byte.
    #[test]
    fn what_is_accepted_has_one_encoding(
        index in any_index(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut content = unsealed(&index);
        for (at, byte) in changes {
            let position = at.index(content.len());
            content[position] = byte;
        }
        let bytes = seal(&content);
        if let Ok(read) = Index::decode(&bytes) {
            prop_assert!(read.encode() == bytes);
            let ends = read.records().iter().map(IndexRecord::end);
            prop_assert!(ends.is_sorted());
        }
    }

    #[test]
    fn an_index_that_was_cut_off_and_sealed_is_refused(index in any_index(), at in any::<prop::sample::Index>()) {
        let content = unsealed(&index);
        prop_assert!(Index::decode(&seal(&content[..at.index(content.len())])).is_err());
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..1000)) {
        prop_assert!(Index::decode(&bytes).is_err());
        let mut content = unsealed(&index(Compression::Zstd, &[0]));
        content.truncate(HEAD_BYTES);
        content.extend_from_slice(&bytes);
        prop_assert!(Index::decode(&seal(&content)).is_err());
    }
}
