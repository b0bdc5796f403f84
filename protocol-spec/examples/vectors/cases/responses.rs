//! Response streams: every byte up to the end of the stream, and what a reader makes of it.

use lapis_protocol_spec::{Method, Status, encode, framing::Encoder};
use serde_json::{Value as Json, json};

use super::{Failure, hex, wire};

/// Text of the error chunk that other implementations use as an example.
const TEST_ERROR: &[u8] = b"TEST_ERROR";

pub(crate) fn file() -> Result<Json, Failure> {
    let good = [good()?, errors()].concat();
    let bad = [bad_ends(), bad_lengths(), bad_frames()].concat();
    Ok(json!({ "good": good, "bad": bad }))
}

fn success(item: &[u8]) -> Json {
    json!({ "result": 0, "payload": hex(item) })
}

fn error(result: u8, message: &[u8]) -> Json {
    json!({ "result": result, "payload": hex(message) })
}

/// A stream with its chunks, and how it ends: `complete` or the name of a framing error.
fn case(name: &str, method: Method, stream: &[u8], chunks: &[Json], end: &str) -> Json {
    json!({ "name": name, "method": method.name(), "stream": hex(stream), "chunks": chunks, "end": end })
}

fn pong(number: u64) -> Vec<u8> {
    number.to_le_bytes().to_vec()
}

/// A chunk of one uncompressed frame.
fn chunk(result: u8, payload: &[u8]) -> Vec<u8> {
    [&[result][..], &wire::payload(payload)].concat()
}

/// The chunk of a pong with `frames` instead of the usual one.
fn pong_of(frames: &[&[u8]]) -> Vec<u8> {
    [&[0, 8], wire::IDENTIFIER, &frames.concat()].concat()
}

fn good() -> Result<Vec<Json>, Failure> {
    let one = success(&pong(1));
    let padding = wire::frame(0xfe, &[0; 5]);
    let status = encode(&Status { genesis_id: [0xaa; 32].into(), decided_height: 7, ..Status::default() });
    let mut status_chunk = Vec::new();
    Encoder::new().chunk(Method::Status.response_bounds(), &[&status], &mut status_chunk)?;
    let sets = [vec![4, 0, 0, 0], [&[4, 0, 0, 0][..], &[7; 40]].concat()];
    let two = [chunk(0, &sets[0]), chunk(0, &sets[1])].concat();
    let items = [success(&sets[0]), success(&sets[1])];
    let then_error = [&two[..], &chunk(3, b"floor 9")].concat();
    let (head, tail) = ([1, 0, 0], [0, 0, 0, 0, 0]);
    let in_two = pong_of(&[&wire::uncompressed(&head), &wire::uncompressed(&tail)]);
    let skipped = pong_of(&[&padding, &wire::frame(0x80, &[]), &wire::uncompressed(&pong(1))]);
    let empty_frames = pong_of(&[&wire::uncompressed(&[]), &wire::uncompressed(&pong(1))]);
    let data = wire::uncompressed(&pong(1));
    let case = |name: &str, stream: &[u8]| case(name, Method::Ping, stream, std::slice::from_ref(&one), "complete");
    Ok(vec![
        self::case("no chunk at all", Method::BlobsByRange, &[], &[], "complete"),
        case("pong 1", &pong_of(&[&wire::uncompressed(&pong(1))])),
        case("pong 1, compressed", &pong_of(&[&wire::compressed(&pong(1))])),
        case("pong 1 in two frames", &in_two),
        case("skippable frames before the data", &skipped),
        case("as much padding as the bound allows", &pong_of(&[&wire::frame(0xfe, &[0; 11]), &data])),
        case("a frame without data", &empty_frames),
        self::case("a status", Method::Status, &status_chunk, &[success(&status)], "complete"),
        self::case("two items", Method::ValidatorSetByRoot, &two, &items, "complete"),
        self::case(
            "two items, then an error",
            Method::ValidatorSetByRoot,
            &then_error,
            &[&items[..], &[error(3, b"floor 9")]].concat(),
            "complete",
        ),
    ])
}

fn errors() -> Vec<Json> {
    let case = |name: &str, result: u8, message: &[u8]| {
        case(name, Method::Ping, &chunk(result, message), &[error(result, message)], "complete")
    };
    let empty = |name: &str, stream: &[u8]| self::case(name, Method::Ping, stream, &[error(2, &[])], "complete");
    vec![
        case("server error with a text", 2, TEST_ERROR),
        case("invalid request", 1, b"count is 0"),
        case("resource unavailable", 3, b"blobs below 812 are pruned"),
        case("rate limited", 139, b"two streams at most"),
        case("a text of 256 bytes", 2, &[b'x'; 256]),
        case("a text that is not UTF-8", 2, &[0xff, 0xfe, 0x00]),
        case("an unknown code: 4", 4, b"?"),
        case("an unknown code: 127", 127, b"?"),
        case("an unknown code: 255", 255, b"?"),
        empty("an empty text", &[&[2, 0], wire::IDENTIFIER].concat()),
        empty("an empty text without identifier", &[2, 0]),
    ]
}

fn bad_ends() -> Vec<Json> {
    let one = pong_of(&[&wire::uncompressed(&pong(1))]);
    let cut = one.split_last().map(|(_, rest)| rest).unwrap_or_default();
    let after_error = [chunk(2, TEST_ERROR), one.clone()].concat();
    let case =
        |name: &str, stream: &[u8], chunks: &[Json], end: &str| self::case(name, Method::Ping, stream, chunks, end);
    vec![
        case("the end after a result byte", &[0], &[], "EndedInPrefix"),
        case("the end after the length", &[0, 8], &[], "EndedInPayload"),
        case("the end inside the identifier", &[0, 8, 0xff, 6], &[], "EndedInPayload"),
        case("the last byte is missing", cut, &[], "EndedInPayload"),
        case("the end inside the second chunk", &[&one[..], &[0, 8]].concat(), &[success(&pong(1))], "EndedInPayload"),
        case("a chunk after an error", &after_error, &[error(2, TEST_ERROR)], "BytesAfterErrorChunk"),
    ]
}

fn bad_lengths() -> Vec<Json> {
    let case = |name: &str, method: Method, stream: &[u8], end: &str| self::case(name, method, stream, &[], end);
    let overlong = [&[0][..], &[0x80; 10], &[0]].concat();
    let overflow = [&[0][..], &[0xff; 9], &[2]].concat();
    let largest = [&[0][..], &[0xff; 9], &[1]].concat();
    vec![
        case("a length that is not the shortest form", Method::Ping, &[0, 0x88, 0x00], "PrefixNotMinimal"),
        case("a length of eleven bytes", Method::Ping, &overlong, "PrefixTooLong"),
        case("a length above 2^64 - 1", Method::Ping, &overflow, "PrefixOverflow"),
        case("a length of 2^64 - 1", Method::Ping, &largest, "LengthAboveMaximum"),
        case("a pong of seven bytes", Method::Ping, &chunk(0, &[0; 7]), "LengthBelowMinimum"),
        case("a status of 105 bytes", Method::Status, &chunk(0, &[0; 105]), "LengthAboveMaximum"),
        case(
            "a sidecar of 131,183 bytes",
            Method::BlobsByRange,
            &[&[0][..], &wire::varint(131_183)].concat(),
            "LengthBelowMinimum",
        ),
        case(
            "a sidecar of 131,185 bytes",
            Method::BlobsByRoot,
            &[&[0][..], &wire::varint(131_185)].concat(),
            "LengthAboveMaximum",
        ),
        case("an error text of 257 bytes", Method::Ping, &chunk(2, &[b'x'; 257]), "LengthAboveMaximum"),
        case("an item in answer to a goodbye", Method::Goodbye, &chunk(0, &[1]), "LengthAboveMaximum"),
    ]
}

fn bad_frames() -> Vec<Json> {
    let data = wire::uncompressed(&pong(1));
    let mut damaged = data.clone();
    damaged.iter_mut().skip(4).take(1).for_each(|byte| *byte ^= 1);
    let case = |name: &str, stream: &[u8], end: &str| self::case(name, Method::Ping, stream, &[], end);
    // 10 of the identifier, 4 and 12 of padding, 16 of data: one more than the 41 that a pong may have.
    let flood = pong_of(&[&wire::frame(0xfe, &[0; 12]), &data]);
    let no_identifier = [&[0, 8][..], &data].concat();
    let corrupt = [&[0, 8][..], b"\xff\x06\x00\x00sNaPpX", &data].concat();
    vec![
        case("no identifier", &no_identifier, "IdentifierMissing"),
        case(
            "padding before the identifier",
            &[&[0, 8, 0xfe, 0, 0, 0][..], wire::IDENTIFIER].concat(),
            "IdentifierMissing",
        ),
        case("a damaged identifier", &corrupt, "IdentifierCorrupt"),
        case("a second identifier", &pong_of(&[wire::IDENTIFIER, &data]), "IdentifierRepeated"),
        case("a reserved frame", &pong_of(&[&wire::frame(0x02, &[0]), &data]), "FrameReserved"),
        case("a wrong checksum", &pong_of(&[&damaged]), "ChecksumMismatch"),
        case("a frame without a whole checksum", &pong_of(&[&wire::frame(0x01, &[0; 3])]), "FrameTooShort"),
        case("an oversized frame", &pong_of(&[&[0x00, 0x05, 0x00, 0x01]]), "FrameOversized"),
        case("a block that is no snappy", &pong_of(&[&wire::frame(0x00, &[0, 0, 0, 0, 8, 0xff])]), "FrameCorrupt"),
        case("one byte too many", &pong_of(&[&wire::uncompressed(&[0; 9])]), "PayloadTooLong"),
        case("one byte too many, compressed", &pong_of(&[&wire::compressed(&[0; 9])]), "PayloadTooLong"),
        case("more padding than the bound allows", &flood, "CompressedBoundExceeded"),
    ]
}
