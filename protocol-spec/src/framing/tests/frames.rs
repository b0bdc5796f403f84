//! The frames of a payload, seen through a request.

use proptest::prelude::*;

use super::wire::{
    SIDECAR, UP_TO_1_MIB, checksum, frame, framed, join, noise, packed, padding, payload, prefix, request,
    request_in_pieces, stored, stream,
};
use crate::framing::{
    FramingError, LengthBounds, MAX_FRAME_BODY, MAX_FRAME_DATA, RequestDecoder, STREAM_IDENTIFIER, compressed_bound,
};

fn refused(wire: &[u8], expected: FramingError) {
    assert_eq!(request(UP_TO_1_MIB, wire), Err(expected));
    let bytes = wire.chunks(1);
    assert_eq!(request_in_pieces(UP_TO_1_MIB, bytes), Err(expected), "byte by byte");
}

fn accepted(wire: &[u8], data: &[u8]) {
    assert_eq!(request(UP_TO_1_MIB, wire).unwrap(), data);
    assert_eq!(request_in_pieces(UP_TO_1_MIB, wire.chunks(1)).unwrap(), data, "byte by byte");
}

#[test]
fn several_frames_of_both_types() {
    let (zeros, noise) = (vec![0; 65_536], noise(70_000));
    let frames = [packed(&zeros), stored(&noise[..65_536]), stored(&noise[65_536..65_537]), packed(&noise[65_537..])];
    accepted(&framed(135_536, frames), &join([zeros, noise]));
}

#[test]
fn what_snap_writes_is_read() {
    use std::io::Write;
    for data in [vec![0; 200_000], noise(200_000), b"a".to_vec()] {
        let mut encoder = snap::write::FrameEncoder::new(Vec::new());
        encoder.write_all(&data).unwrap();
        accepted(&join([prefix(data.len()), encoder.into_inner().unwrap()]), &data);
    }
}

#[test]
fn identifier_missing() {
    refused(&join([prefix(3), stored(b"abc")]), FramingError::IdentifierMissing);
    refused(&join([prefix(3), padding(1), stream(b"abc")]), FramingError::IdentifierMissing);
    refused(&join([prefix(3), frame(0x02, b""), stream(b"abc")]), FramingError::IdentifierMissing);
}

#[test]
fn identifier_twice() {
    let twice = framed(3, [STREAM_IDENTIFIER.to_vec(), stored(b"abc")]);
    refused(&twice, FramingError::IdentifierRepeated);
    let between = framed(6, [stored(b"abc"), stream(b"def")]);
    refused(&between, FramingError::IdentifierRepeated);
}

#[test]
fn identifier_corrupt() {
    for at in 4..STREAM_IDENTIFIER.len() {
        let mut identifier = STREAM_IDENTIFIER;
        identifier[at] ^= 0x20;
        refused(&join([&prefix(3)[..], &identifier, &stored(b"abc")]), FramingError::IdentifierCorrupt);
    }
    for body in [&b""[..], b"sNaPp", b"sNaPpYY"] {
        refused(&join([prefix(3), frame(0xff, body), stored(b"abc")]), FramingError::IdentifierCorrupt);
    }
}

#[test]
fn reserved_frame_types() {
    for kind in 0x02..=0x7f {
        refused(&framed(3, [frame(kind, b""), stored(b"abc")]), FramingError::FrameReserved { kind });
    }
}

#[test]
fn skippable_frame_types() {
    for kind in 0x80..=0xfe {
        accepted(&framed(3, [frame(kind, b"skip me"), stored(b"abc")]), b"abc");
        accepted(&framed(3, [stored(b"a"), frame(kind, b""), stored(b"bc")]), b"abc");
    }
}

#[test]
fn garbage() {
    refused(&join([prefix(3), b"garbage, not frames".to_vec()]), FramingError::IdentifierMissing);
    let after = framed(100, [b"garbage, not frames".to_vec()]);
    refused(&after, FramingError::FrameReserved { kind: b'g' });
    let block = frame(0, &join([&checksum(b"abc")[..], &[3, 0xff, 0xff, 0xff, 0xff, 0xff]]));
    refused(&framed(3, [block]), FramingError::FrameCorrupt);
}

#[test]
fn padding_beyond_the_compressed_bound() {
    let bound = compressed_bound(100);
    let room = bound - STREAM_IDENTIFIER.len() - stored(&[1; 100]).len();
    accepted(&framed(100, [padding(room - 4), stored(&[1; 100])]), &[1; 100]);
    let error = FramingError::CompressedBoundExceeded { bound };
    refused(&framed(100, [padding(room - 3), stored(&[1; 100])]), error);
}

#[test]
fn padding_too_long_is_refused_at_its_header() {
    let header = framed(100, [vec![0xfe, 0xff, 0xff, 0xff]]);
    refused(&header, FramingError::CompressedBoundExceeded { bound: compressed_bound(100) });
}

#[test]
fn endless_padding() {
    let mut decoder = RequestDecoder::new(UP_TO_1_MIB);
    decoder.push(&framed(SIDECAR, [])).unwrap();
    let bound = compressed_bound(SIDECAR);
    let mut taken = STREAM_IDENTIFIER.len();
    let error = loop {
        match decoder.push(&padding(1000)) {
            Ok(()) => taken += 1004,
            Err(error) => break error,
        }
    };
    assert_eq!(error, FramingError::CompressedBoundExceeded { bound });
    assert!(taken <= bound);
    assert_eq!(decoder.push(&stored(&[0; 10])), Err(error), "the error stays");
}

#[test]
fn flood_of_empty_frames() {
    for empty in [stored(b""), packed(b""), padding(0)] {
        let mut decoder = RequestDecoder::new(UP_TO_1_MIB);
        decoder.push(&framed(1000, [])).unwrap();
        let frames = (0..).find(|_| decoder.push(&empty).is_err()).unwrap();
        let bound = compressed_bound(1000);
        assert_eq!(decoder.finish(), Err(FramingError::CompressedBoundExceeded { bound }));
        assert_eq!(frames, (bound - STREAM_IDENTIFIER.len()) / empty.len());
    }
}

#[test]
fn empty_frames_before_the_data() {
    accepted(&framed(100, [stored(b""), packed(b""), padding(0), stored(&[1; 100])]), &[1; 100]);
}

#[test]
fn compressed_bound_leaves_no_room_for_a_header() {
    let room = compressed_bound(1) - STREAM_IDENTIFIER.len();
    let wire = framed(1, [padding(room - 4 - 3), vec![0]]);
    refused(&wire, FramingError::CompressedBoundExceeded { bound: compressed_bound(1) });
}

#[test]
fn frame_longer_than_its_maximum_is_refused_at_its_header() {
    for kind in [0, 1] {
        let length = u32::try_from(MAX_FRAME_BODY + 1).unwrap().to_le_bytes();
        let wire = framed(SIDECAR, [join([&[kind], &length[..3]])]);
        refused(&wire, FramingError::FrameOversized { length: MAX_FRAME_BODY + 1 });
    }
    accepted(&payload(&noise(MAX_FRAME_DATA)), &noise(MAX_FRAME_DATA));
}

#[test]
fn frame_too_short_for_its_checksum() {
    for (kind, length) in [(0, 0), (0, 3), (0, 4), (1, 0), (1, 3)] {
        refused(&framed(8, [frame(kind, &vec![0; length])]), FramingError::FrameTooShort { length });
    }
}

#[test]
fn frame_that_inflates_beyond_its_maximum() {
    let data = vec![0; MAX_FRAME_DATA + 1];
    let error = FramingError::FrameDataOversized { length: MAX_FRAME_DATA + 1 };
    refused(&framed(SIDECAR, [packed(&data)]), error);
    let claim = frame(0, &join([&[0; 4][..], &[0xff, 0xff, 0xff, 0xff, 0x0f], &[0; 16]]));
    refused(&framed(SIDECAR, [claim]), FramingError::FrameDataOversized { length: 0xffff_ffff });
}

#[test]
fn block_that_ends_before_its_announced_length() {
    let data = noise(200);
    let block = snap::raw::Encoder::new().compress_vec(&data).unwrap();
    let short = join([&checksum(&data)[..], &block[..block.len() - 1]]);
    refused(&framed(200, [frame(0, &short)]), FramingError::FrameCorrupt);
    let long = join([&checksum(&data)[..], &block, &[0]]);
    refused(&framed(200, [frame(0, &long)]), FramingError::FrameCorrupt);
}

fn is_checksum_mismatch(result: Result<impl std::fmt::Debug, FramingError>) -> bool {
    matches!(result, Err(FramingError::ChecksumMismatch { expected, computed }) if expected != computed)
}

#[test]
fn bad_checksum() {
    for good in [stored(&noise(300)), packed(&[0; 300])] {
        for bit in 0..32 {
            let mut bad = good.clone();
            bad[4 + bit / 8] ^= 1 << (bit % 8);
            let wire = framed(300, [bad]);
            assert!(is_checksum_mismatch(request(UP_TO_1_MIB, &wire)));
            assert!(is_checksum_mismatch(request_in_pieces(UP_TO_1_MIB, wire.chunks(1))));
        }
    }
}

#[test]
fn bad_data_under_a_good_checksum() {
    let mut wire = payload(&noise(300));
    *wire.last_mut().unwrap() ^= 1;
    assert!(is_checksum_mismatch(request(UP_TO_1_MIB, &wire)));
}

#[test]
fn checksum_not_masked() {
    let unmasked = join([&crc32c::crc32c(b"abc").to_le_bytes()[..], b"abc"]);
    assert!(is_checksum_mismatch(request(UP_TO_1_MIB, &framed(3, [frame(1, &unmasked)]))));
}

#[test]
fn truncated_at_every_byte() {
    let mixed = framed(500, [packed(&[0; 200]), padding(9), stored(&noise(300))]);
    for end in 0..mixed.len() {
        let expected = if end < 2 { FramingError::EndedInPrefix } else { FramingError::EndedInPayload };
        refused(&mixed[..end], expected);
    }
    assert!(request(UP_TO_1_MIB, &mixed).is_ok());
}

#[test]
fn inflates_to_one_byte_too_many() {
    let error = FramingError::PayloadTooLong { length: 100 };
    refused(&framed(100, [stored(&[1; 101])]), error);
    refused(&framed(100, [packed(&[1; 101])]), error);
    refused(&framed(100, [stored(&[1; 60]), stored(&[1; 41])]), error);
}

#[test]
fn bytes_after_the_payload() {
    let good = payload(b"abc");
    for after in [vec![0], vec![0xff], padding(0), padding(5), stored(b""), packed(b""), stored(b"d"), good.clone()] {
        refused(&join([good.clone(), after]), FramingError::BytesAfterRequest);
    }
}

#[test]
fn ten_mebibytes_of_zeros_in_a_sidecar() {
    let bounds = LengthBounds::fixed(SIDECAR);
    let zeros = packed(&vec![0; MAX_FRAME_DATA]);
    let bomb = join(std::iter::repeat_n(zeros, 160));
    let honest = join([prefix(10 << 20), STREAM_IDENTIFIER.to_vec(), bomb.clone()]);
    let error = FramingError::LengthAboveMaximum { length: 10 << 20, max: SIDECAR };
    assert_eq!(request(bounds, &honest), Err(error));
    let lying = framed(SIDECAR, [bomb]);
    assert_eq!(request(bounds, &lying), Err(FramingError::PayloadTooLong { length: SIDECAR }));
}

#[test]
fn empty_payload_with_and_without_identifier() {
    accepted(&[0], b"");
    accepted(&join([&[0][..], &STREAM_IDENTIFIER]), b"");
}

#[test]
fn empty_payload_with_anything_else() {
    refused(&join([vec![0], padding(0)]), FramingError::BytesAfterRequest);
    refused(&join([vec![0], stored(b"")]), FramingError::BytesAfterRequest);
    refused(&framed(0, [stored(b"")]), FramingError::BytesAfterRequest);
    refused(&framed(0, [STREAM_IDENTIFIER.to_vec()]), FramingError::BytesAfterRequest);
    refused(&[0, 0xff, 0x06, 0x01], FramingError::IdentifierCorrupt);
    for end in 1..STREAM_IDENTIFIER.len() {
        refused(&join([&[0][..], &STREAM_IDENTIFIER[..end]]), FramingError::EndedInPayload);
    }
}

#[test]
fn complete_before_the_stream_ends() {
    let mut decoder = RequestDecoder::new(UP_TO_1_MIB);
    let wire = payload(b"abc");
    let (head, last) = wire.split_at(wire.len() - 1);
    decoder.push(head).unwrap();
    assert!(!decoder.is_complete());
    decoder.push(last).unwrap();
    assert!(decoder.is_complete());
    assert_eq!(decoder.finish().unwrap(), &b"abc"[..]);
}

proptest! {
    /// Whatever the frames look like, a length that they do not sum up to is never accepted.
    #[test]
    fn wrong_announced_length(data in prop::collection::vec(any::<u8>(), 1..300), announced in 1_usize..400) {
        prop_assume!(announced != data.len());
        for frames in [stored(&data), packed(&data)] {
            let result = request(UP_TO_1_MIB, &framed(announced, [frames]));
            if announced > data.len() {
                prop_assert_eq!(result, Err(FramingError::EndedInPayload));
            } else {
                let error = result.unwrap_err();
                let too_long = FramingError::PayloadTooLong { length: announced };
                let bound = FramingError::CompressedBoundExceeded { bound: compressed_bound(announced) };
                prop_assert!(error == too_long || error == bound, "{error}");
            }
        }
    }
}
