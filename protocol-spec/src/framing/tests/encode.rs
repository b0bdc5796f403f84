//! What we write.

use std::io::Read;

use super::wire::{SIDECAR, UP_TO_1_MIB, failure, item, noise, payload, request, response};
use crate::framing::{
    EncodeError, Encoder, ErrorCode, LengthBounds, MAX_ERROR_MESSAGE, MAX_FRAME_DATA, STREAM_IDENTIFIER,
    compressed_bound,
};

fn encoded(data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    Encoder::new().request(UP_TO_1_MIB, &[data], &mut out).unwrap();
    out
}

#[test]
fn own_item_outside_its_bounds_fails_here() {
    let bounds = LengthBounds::between(4, 8);
    for length in [0, 3, 9, 1000] {
        let mut out = b"left over".to_vec();
        let error = EncodeError::LengthOutOfBounds { length, min: 4, max: 8 };
        assert_eq!(Encoder::new().chunk(bounds, &[&noise(length)], &mut out), Err(error));
        assert!(out.is_empty(), "nothing that could be sent by mistake");
        assert_eq!(Encoder::new().request(bounds, &[&noise(length)], &mut out), Err(error));
        assert!(out.is_empty());
    }
}

#[test]
fn each_call_replaces_the_buffer() {
    let (mut encoder, mut out) = (Encoder::new(), Vec::new());
    encoder.chunk(UP_TO_1_MIB, &[b"first"], &mut out).unwrap();
    encoder.chunk(UP_TO_1_MIB, &[b"second"], &mut out).unwrap();
    assert_eq!(response(UP_TO_1_MIB, &out), (vec![item(b"second")], Ok(())));
    encoder.error(ErrorCode::ServerError, "third", &mut out);
    assert_eq!(out, failure(2, b"third"));
    encoder.request(UP_TO_1_MIB, &[b"fourth"], &mut out).unwrap();
    assert_eq!(request(UP_TO_1_MIB, &out).unwrap(), &b"fourth"[..]);
}

#[test]
fn incompressible_data_is_stored() {
    for length in [1, MAX_FRAME_DATA, MAX_FRAME_DATA + 1, SIDECAR] {
        let data = noise(length);
        assert_eq!(encoded(&data), payload(&data));
    }
}

#[test]
fn compressible_data_is_compressed() {
    let data = vec![0; SIDECAR];
    let wire = encoded(&data);
    assert!(wire.len() < SIDECAR / 16, "{} bytes", wire.len());
    assert_eq!(request(UP_TO_1_MIB, &wire).unwrap(), data);
}

#[test]
fn saving_of_less_than_an_eighth_is_not_taken() {
    let kind = |zeros: usize| encoded(&[noise(1000 - zeros), vec![0; zeros]].concat())[2 + STREAM_IDENTIFIER.len()];
    assert_eq!((kind(100), kind(200)), (1, 0));
}

#[test]
fn each_frame_takes_its_shorter_form() {
    let data = [noise(MAX_FRAME_DATA), vec![0; MAX_FRAME_DATA]].concat();
    let wire = encoded(&data);
    let first = 3 + STREAM_IDENTIFIER.len();
    assert_eq!(wire[first], 1);
    assert_eq!(wire[first + 8 + MAX_FRAME_DATA], 0);
    assert_eq!(request(UP_TO_1_MIB, &wire).unwrap(), data);
}

#[test]
fn parts_are_encoded_as_one() {
    let data = noise(SIDECAR);
    let (head, blob) = data.split_at(112);
    let (first, rest) = blob.split_at(65_500);
    let (second, last) = rest.split_at(65_500);
    let mut out = Vec::new();
    let bounds = LengthBounds::fixed(SIDECAR);
    Encoder::new().request(bounds, &[head, first, b"", second, last, b""], &mut out).unwrap();
    assert_eq!(out, encoded(&data));
    let bytes: Vec<&[u8]> = data.chunks(1).collect();
    Encoder::new().request(bounds, &bytes, &mut out).unwrap();
    assert_eq!(out, encoded(&data));
}

#[test]
fn snap_reads_what_we_write() {
    for data in [noise(200_000), vec![7; 200_000], b"x".to_vec()] {
        let wire = encoded(&data);
        let frames = wire.windows(STREAM_IDENTIFIER.len()).position(|window| window == STREAM_IDENTIFIER).unwrap();
        let mut read = Vec::new();
        snap::read::FrameDecoder::new(&wire[frames..]).read_to_end(&mut read).unwrap();
        assert_eq!(read, data);
    }
}

#[test]
fn own_output_stays_within_the_compressed_bound() {
    for length in [1, 2, 7, 100, MAX_FRAME_DATA - 1, MAX_FRAME_DATA, MAX_FRAME_DATA + 1, 1 << 20] {
        assert!(encoded(&noise(length)).len() <= 10 + compressed_bound(length));
    }
}

#[test]
fn empty_payload_is_the_identifier() {
    assert_eq!(encoded(b""), [&[0][..], &STREAM_IDENTIFIER].concat());
    let mut out = Vec::new();
    Encoder::new().chunk(UP_TO_1_MIB, &[], &mut out).unwrap();
    assert_eq!(out, [&[0, 0][..], &STREAM_IDENTIFIER].concat());
}

#[test]
fn error_text_is_cut_at_a_character() {
    let mut out = Vec::new();
    Encoder::new().error(ErrorCode::InvalidRequest, &"x".repeat(600), &mut out);
    assert!(out.starts_with(&[1, 0x80, 0x02]), "256 bytes");
    let text = format!("{}é", "x".repeat(MAX_ERROR_MESSAGE - 1));
    Encoder::new().error(ErrorCode::InvalidRequest, &text, &mut out);
    assert!(out.starts_with(&[1, 0xff, 0x01]), "255 bytes");
    assert_eq!(response(UP_TO_1_MIB, &out).1, Ok(()));
}
