//! Laws that hold for all inputs.

use proptest::prelude::*;

use super::wire::{
    Decoded, UP_TO_1_MIB, failure, frame, item, join, noise, packed, prefix, request, request_in_pieces, response,
    response_in_pieces, stored,
};
use crate::framing::varint::{Decoder, Varint};
use crate::framing::{Encoder, LengthBounds, MAX_FRAME_DATA, ResponseChunk, STREAM_IDENTIFIER};

/// Payloads of up to three frames, from incompressible to constant.
fn payloads() -> impl Strategy<Value = Vec<u8>> {
    let lengths = prop_oneof![0_usize..200, 65_500_usize..65_600, 0_usize..140_000];
    (lengths, 0_usize..140_000, any::<u8>()).prop_map(|(length, noisy, fill)| {
        let mut data = noise(noisy.min(length));
        data.resize(length, fill);
        data
    })
}

/// Streams of small frames: mostly legal, each sort of trouble now and then.
fn frames() -> impl Strategy<Value = Vec<u8>> {
    let data = || prop::collection::vec(any::<u8>(), 0..40);
    let one = prop_oneof![
        8 => data().prop_map(|data| stored(&data)),
        8 => (0_usize..200, any::<u8>()).prop_map(|(length, fill)| packed(&vec![fill; length])),
        2 => (0x80_u8..=0xfe, data()).prop_map(|(kind, body)| frame(kind, &body)),
        1 => (any::<u8>(), data()).prop_map(|(kind, body)| frame(kind, &body)),
        1 => Just(STREAM_IDENTIFIER.to_vec()),
        1 => data(),
    ];
    prop::collection::vec(one, 0..6).prop_map(join)
}

/// Responses of a few chunks, legal or nearly so.
fn responses() -> impl Strategy<Value = Vec<u8>> {
    let results = prop_oneof![6 => Just(0_u8), 1 => any::<u8>()];
    let broken = (results, 0_usize..120, frames())
        .prop_map(|(result, length, frames)| join([vec![result], prefix(length), STREAM_IDENTIFIER.to_vec(), frames]));
    let fine = prop::collection::vec(any::<u8>(), 0..100).prop_map(|data| {
        let mut out = Vec::new();
        Encoder::new().chunk(UP_TO_1_MIB, &[&data], &mut out).unwrap();
        out
    });
    let failed = (1_u8.., prop::collection::vec(any::<u8>(), 0..300)).prop_map(|(code, text)| failure(code, &text));
    let chunk = prop_oneof![6 => fine, 2 => broken, 1 => failed];
    prop::collection::vec(chunk, 0..4).prop_map(join)
}

/// Cuts `wire` into pieces at the given places, taken modulo its length.
fn cut<'a>(wire: &'a [u8], places: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut ends: Vec<usize> = places.iter().map(|place| place.index(wire.len() + 1)).collect();
    ends.push(wire.len());
    ends.sort_unstable();
    let mut start = 0;
    let pieces = ends.into_iter().map(|end| {
        let piece = &wire[start..end];
        start = end;
        piece
    });
    pieces.collect()
}

fn places() -> impl Strategy<Value = Vec<prop::sample::Index>> {
    prop::collection::vec(any::<prop::sample::Index>(), 0..12)
}

fn chunk_bytes(chunk: &ResponseChunk) -> usize {
    match chunk {
        ResponseChunk::Success(bytes) | ResponseChunk::Error { message: bytes, .. } => bytes.len(),
    }
}

proptest! {
    #[test]
    fn varint_round_trips(value: u64) {
        let varint = Varint::new(value);
        prop_assert_eq!(Decoder::new().push_slice(varint.as_bytes()), Ok((Some(value), &[][..])));
    }

    /// What is accepted is exactly what the encoder writes.
    #[test]
    fn varint_has_one_encoding(bytes in prop::collection::vec(any::<u8>(), 1..12)) {
        if let Ok((Some(value), rest)) = Decoder::new().push_slice(&bytes) {
            let taken = bytes.len() - rest.len();
            let varint = Varint::new(value);
            prop_assert_eq!(varint.as_bytes(), &bytes[..taken]);
        }
    }

    #[test]
    fn encoded_payload_decodes_to_itself_at_any_split(data in payloads(), places in places()) {
        let mut out = Vec::new();
        let bounds = LengthBounds::fixed(data.len());
        Encoder::new().request(bounds, &[&data], &mut out).unwrap();
        prop_assert_eq!(&request(bounds, &out).unwrap(), &data);
        prop_assert_eq!(&request_in_pieces(bounds, cut(&out, &places)).unwrap(), &data);
        Encoder::new().chunk(bounds, &[&data], &mut out).unwrap();
        let expected: Decoded = (vec![item(&data)], Ok(()));
        prop_assert_eq!(response_in_pieces(bounds, cut(&out, &places)), expected);
    }

    #[test]
    fn parts_make_no_difference(data in payloads(), places in places()) {
        let (mut whole, mut parted) = (Vec::new(), Vec::new());
        let bounds = LengthBounds::fixed(data.len());
        Encoder::new().chunk(bounds, &[&data], &mut whole).unwrap();
        Encoder::new().chunk(bounds, &cut(&data, &places), &mut parted).unwrap();
        prop_assert!(whole == parted);
    }

    /// The outcome, good or bad, does not depend on how the bytes arrive.
    #[test]
    fn request_at_any_split_equals_one_shot(length in 0_usize..150, frames in frames(), places in places()) {
        let wire = join([prefix(length), STREAM_IDENTIFIER.to_vec(), frames]);
        let expected = request(UP_TO_1_MIB, &wire);
        prop_assert_eq!(&request_in_pieces(UP_TO_1_MIB, wire.chunks(1)), &expected);
        prop_assert_eq!(&request_in_pieces(UP_TO_1_MIB, cut(&wire, &places)), &expected);
    }

    #[test]
    fn response_at_any_split_equals_one_shot(wire in responses(), places in places()) {
        let expected = response(UP_TO_1_MIB, &wire);
        prop_assert_eq!(&response_in_pieces(UP_TO_1_MIB, wire.chunks(1)), &expected);
        prop_assert_eq!(&response_in_pieces(UP_TO_1_MIB, cut(&wire, &places)), &expected);
    }

    #[test]
    fn every_split_in_two_equals_one_shot(wire in responses()) {
        let expected = response(UP_TO_1_MIB, &wire);
        for at in 0..=wire.len() {
            let (head, tail) = wire.split_at(at);
            prop_assert_eq!(&response_in_pieces(UP_TO_1_MIB, [head, tail]), &expected);
        }
    }

    /// No panic, and nothing outside the bounds is ever handed out.
    #[test]
    fn arbitrary_bytes(wire in prop::collection::vec(any::<u8>(), 0..600), min in 0_usize..20, more in 0_usize..300) {
        let bounds = LengthBounds::between(min, min + more);
        if let Ok(payload) = request(bounds, &wire) {
            prop_assert!(payload.len() >= min && payload.len() <= min + more);
        }
        let (chunks, _) = response(bounds, &wire);
        prop_assert!(chunks.iter().all(|chunk| chunk_bytes(chunk) <= (min + more).max(256)));
    }

    /// One flipped bit never yields other bytes under the same length, except in what a reader must skip.
    #[test]
    fn flipped_bit_is_noticed(data in prop::collection::vec(any::<u8>(), 1..300), bit: prop::sample::Index) {
        for frame in [stored(&data), packed(&data)] {
            let mut wire = join([prefix(data.len()), STREAM_IDENTIFIER.to_vec(), frame]);
            let bit = bit.index(wire.len() * 8);
            wire[bit / 8] ^= 1 << (bit % 8);
            if let Ok(payload) = request(UP_TO_1_MIB, &wire) {
                prop_assert_eq!(payload, data.clone());
            }
        }
    }
}

#[test]
fn frames_of_the_largest_size_at_every_kind_of_split() {
    let data = join([noise(MAX_FRAME_DATA), vec![3; MAX_FRAME_DATA], noise(80)]);
    let mut out = Vec::new();
    Encoder::new().chunk(UP_TO_1_MIB, &[&data], &mut out).unwrap();
    for read in [1, 3, 1000, 16_384, 65_535, 65_536, 65_544, out.len()] {
        assert_eq!(response_in_pieces(UP_TO_1_MIB, out.chunks(read)), (vec![item(&data)], Ok(())));
    }
}
