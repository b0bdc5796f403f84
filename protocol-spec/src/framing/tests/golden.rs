//! Bytes that other implementations write.

use bytes::Bytes;

use super::wire::{item, request, response};
use crate::framing::{Encoder, ErrorCode, LengthBounds, ResponseChunk, STREAM_IDENTIFIER};

const PING: &str = "08ff060000734e61507059010c00000175de410100000000000000";
const TEST_ERROR: &str = "020aff060000734e61507059010e000049b97aaf544553545f4552524f52";
const UINT64: LengthBounds = LengthBounds::fixed(8);

#[test]
fn identifier_is_the_one_of_the_snappy_format() {
    assert_eq!(hex::encode(STREAM_IDENTIFIER), "ff060000734e61507059");
}

#[test]
fn ping_request_is_written_and_read() {
    let wire = hex::decode(PING).unwrap();
    assert_eq!(request(UINT64, &wire).unwrap(), Bytes::copy_from_slice(&1_u64.to_le_bytes()));
    let mut out = Vec::new();
    Encoder::new().request(UINT64, &[&1_u64.to_le_bytes()], &mut out).unwrap();
    assert_eq!(hex::encode(out), PING);
}

#[test]
fn ping_response_is_written_and_read() {
    let mut out = Vec::new();
    Encoder::new().chunk(UINT64, &[&1_u64.to_le_bytes()], &mut out).unwrap();
    assert_eq!(hex::encode(&out), format!("00{PING}"));
    assert_eq!(response(UINT64, &out), (vec![item(&1_u64.to_le_bytes())], Ok(())));
}

#[test]
fn error_chunk_is_written_and_read() {
    let wire = hex::decode(TEST_ERROR).unwrap();
    let message = Bytes::from_static(b"TEST_ERROR");
    let chunk = ResponseChunk::Error { code: ErrorCode::ServerError, message };
    assert_eq!(response(UINT64, &wire), (vec![chunk], Ok(())));
    let mut out = Vec::new();
    Encoder::new().error(ErrorCode::ServerError, "TEST_ERROR", &mut out);
    assert_eq!(hex::encode(out), TEST_ERROR);
}
