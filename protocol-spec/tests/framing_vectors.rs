//! The decoders against `spec/vectors/framing.json`, which was not written by the encoder of this crate.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use lapis_protocol_spec::framing::{FramingError, LengthBounds, RequestDecoder, ResponseChunk, ResponseDecoder};
use serde::Deserialize;

#[derive(Deserialize)]
struct File {
    vectors: Vec<Vector>,
}

#[derive(Deserialize)]
struct Vector {
    name: String,
    min: usize,
    max: usize,
    wire: String,
    error: Option<String>,
    #[serde(flatten)]
    expected: Expected,
}

#[derive(Deserialize)]
#[serde(tag = "shape", rename_all = "lowercase")]
enum Expected {
    Request { payload: Option<String> },
    Response { chunks: Vec<Chunk> },
}

#[derive(Deserialize, Debug, PartialEq)]
struct Chunk {
    result: u8,
    payload: String,
}

/// The failure of the specification that an error stands for: its name without the figures.
fn name(error: FramingError) -> String {
    let text = format!("{error:?}");
    text.split(' ').next().unwrap_or_default().to_owned()
}

fn request(bounds: LengthBounds, wire: &[u8], read: usize) -> Result<String, FramingError> {
    let mut decoder = RequestDecoder::new(bounds);
    wire.chunks(read).try_for_each(|piece| decoder.push(piece))?;
    decoder.finish().map(hex::encode)
}

fn response(bounds: LengthBounds, wire: &[u8], read: usize) -> (Vec<Chunk>, Result<(), FramingError>) {
    let mut decoder = ResponseDecoder::new(bounds);
    let mut chunks = Vec::new();
    let mut rest = wire;
    while !rest.is_empty() {
        let Ok(progress) = decoder.push(&rest[..read.min(rest.len())]) else { break };
        rest = &rest[progress.consumed..];
        chunks.extend(progress.chunk.map(|chunk| match chunk {
            ResponseChunk::Success(item) => Chunk { result: 0, payload: hex::encode(item) },
            ResponseChunk::Error { code, message } => Chunk { result: code.byte(), payload: hex::encode(message) },
        }));
    }
    (chunks, decoder.finish())
}

fn check(vector: &Vector, read: usize) {
    let bounds = LengthBounds::between(vector.min, vector.max);
    let wire = hex::decode(&vector.wire).unwrap();
    let failure = match &vector.expected {
        Expected::Request { payload } => {
            let result = request(bounds, &wire, read);
            assert_eq!(result.as_ref().ok(), payload.as_ref(), "{}", vector.name);
            result.err()
        }
        Expected::Response { chunks } => {
            let (decoded, end) = response(bounds, &wire, read);
            assert_eq!(&decoded, chunks, "{}", vector.name);
            end.err()
        }
    };
    assert_eq!(failure.map(name), vector.error, "{}", vector.name);
}

#[test]
fn every_vector_whole_and_byte_by_byte() {
    let file: File = serde_json::from_str(include_str!("../spec/vectors/framing.json")).unwrap();
    assert!(file.vectors.len() > 50);
    for vector in &file.vectors {
        for read in [1, 5, usize::MAX] {
            check(vector, read);
        }
    }
}
