//! The length prefix.

use super::wire::{UP_TO_1_MIB, join, payload, request, request_in_pieces, response};
use crate::framing::varint::{Decoder, MAX_LENGTH, Varint};
use crate::framing::{ErrorKind, FramingError, LengthBounds};

fn read(bytes: &[u8]) -> Result<Option<u64>, FramingError> {
    let (value, rest) = Decoder::new().push_slice(bytes)?;
    assert!(rest.is_empty());
    Ok(value)
}

/// Both directions refuse a prefix alike.
fn refused(bounds: LengthBounds, prefix: &[u8], expected: FramingError) {
    assert_eq!(request(bounds, prefix), Err(expected));
    assert_eq!(response(bounds, &join([&[0], prefix])), (vec![], Err(expected)));
}

#[test]
fn boundary_values_round_trip() {
    let powers = (0..64).map(|bit| 1_u64 << bit);
    for value in powers.flat_map(|power| [power - 1, power, power + 1]).chain([u64::MAX]) {
        let varint = Varint::new(value);
        assert_eq!(read(varint.as_bytes()), Ok(Some(value)));
        let groups = (64 - value.leading_zeros()).max(1).div_ceil(7) as usize;
        assert_eq!(varint.as_bytes().len(), groups, "shortest form of {value}");
    }
    assert_eq!(Varint::new(u64::MAX).as_bytes().len(), MAX_LENGTH);
}

#[test]
fn what_follows_the_varint_is_left() {
    assert_eq!(Decoder::new().push_slice(&[0x96, 0x01, 0xff, 0x00]), Ok((Some(150), &[0xff, 0x00][..])));
}

#[test]
fn more_than_ten_bytes() {
    refused(UP_TO_1_MIB, &[0x80; 11], FramingError::PrefixTooLong);
    refused(UP_TO_1_MIB, &join([&[0xff; 10][..], &[1]]), FramingError::PrefixTooLong);
}

#[test]
fn tenth_byte_above_64_bits() {
    refused(UP_TO_1_MIB, &join([&[0xff; 9][..], &[2]]), FramingError::PrefixOverflow);
    refused(UP_TO_1_MIB, &join([&[0x80; 9][..], &[0x7f]]), FramingError::PrefixOverflow);
}

#[test]
fn length_of_u64_max() {
    let error = FramingError::LengthAboveMaximum { length: u64::MAX, max: UP_TO_1_MIB.max() };
    assert_eq!(error.kind(), ErrorKind::Oversized);
    refused(UP_TO_1_MIB, Varint::new(u64::MAX).as_bytes(), error);
}

#[test]
fn length_at_the_edge_of_usize_overflows_nothing() {
    let bounds = LengthBounds::between(0, usize::MAX);
    let wire = Varint::new(usize::MAX as u64);
    assert_eq!(request(bounds, wire.as_bytes()), Err(FramingError::EndedInPayload));
}

#[test]
fn not_the_shortest_form() {
    for prefix in [&[0x88, 0x00][..], &[0x80, 0x00], &[0x88, 0x80, 0x00], &[0xff, 0xff, 0x80, 0x00]] {
        refused(UP_TO_1_MIB, prefix, FramingError::PrefixNotMinimal);
    }
    let ten = join([&[0x80; 9][..], &[0]]);
    refused(UP_TO_1_MIB, &ten, FramingError::PrefixNotMinimal);
}

#[test]
fn split_at_every_byte() {
    let data = vec![7; 70_000];
    let wire = payload(&data);
    for at in 0..8 {
        let (head, tail) = wire.split_at(at);
        assert_eq!(request_in_pieces(UP_TO_1_MIB, [head, tail]).unwrap(), data);
    }
}

#[test]
fn above_the_maximum_of_the_type() {
    let bounds = LengthBounds::between(4, 300);
    refused(bounds, &[0xad, 0x02], FramingError::LengthAboveMaximum { length: 301, max: 300 });
    assert_eq!(request(bounds, &payload(&[1; 300])).unwrap(), vec![1; 300]);
}

#[test]
fn below_the_minimum_of_the_type() {
    let bounds = LengthBounds::between(4, 300);
    refused(bounds, &[3], FramingError::LengthBelowMinimum { length: 3, min: 4 });
    refused(bounds, &[0], FramingError::LengthBelowMinimum { length: 0, min: 4 });
    assert_eq!(request(bounds, &payload(&[1; 4])).unwrap(), vec![1; 4]);
}

#[test]
fn wrong_for_a_fixed_size_type() {
    let bounds = LengthBounds::fixed(8);
    refused(bounds, &[7], FramingError::LengthBelowMinimum { length: 7, min: 8 });
    refused(bounds, &[9], FramingError::LengthAboveMaximum { length: 9, max: 8 });
}

#[test]
fn bounds_that_contain_nothing() {
    let bounds = LengthBounds::between(2, 1);
    refused(bounds, &[1], FramingError::LengthBelowMinimum { length: 1, min: 2 });
    refused(bounds, &[2], FramingError::LengthAboveMaximum { length: 2, max: 1 });
}

#[test]
fn ended_in_the_prefix() {
    for wire in [&[][..], &[0x80], &[0xff, 0xff]] {
        assert_eq!(request(UP_TO_1_MIB, wire), Err(FramingError::EndedInPrefix));
    }
    assert_eq!(FramingError::EndedInPrefix.kind(), ErrorKind::Truncated);
}
