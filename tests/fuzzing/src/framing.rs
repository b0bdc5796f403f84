//! Streams: requests and responses as they come from a socket.

use lapis_protocol_spec::{
    Item, Method, Request, encode,
    framing::{FramingError, RequestDecoder, ResponseChunk, ResponseDecoder},
};

use crate::{containers::encodes_to, pieces, split_head};

fn method(choice: u8) -> Method {
    let [first, ..] = Method::ALL;
    Method::ALL.get(usize::from(choice) % Method::ALL.len()).copied().unwrap_or(first)
}

/// Method, seed of the cuts, and the bytes of a request's stream.
pub(super) fn request(bytes: &[u8]) {
    let Some(([choice, seed], stream)) = split_head(bytes) else { return };
    let method = method(choice);
    let at_once = read_request(method, std::iter::once(stream));
    let in_pieces = read_request(method, pieces(stream, seed));
    assert_eq!(at_once, in_pieces, "a request depends on how it is cut");
    let Ok(body) = at_once else { return };
    assert!(method.request_bounds().check(body.len() as u64).is_ok(), "a body out of bounds");
    if let Ok(request) = Request::decode(method, &body) {
        assert!(request.encode() == body, "{request:?} does not encode to its bytes");
        assert_eq!(request.method(), method);
    }
}

fn read_request<'a>(method: Method, pieces: impl Iterator<Item = &'a [u8]>) -> Result<Vec<u8>, FramingError> {
    let mut decoder = RequestDecoder::new(method.request_bounds());
    for piece in pieces {
        decoder.push(piece)?;
    }
    decoder.finish().map(|body| body.to_vec())
}

/// Method, seed of the cuts, and the bytes of a response's stream.
pub(super) fn response(bytes: &[u8]) {
    let Some(([choice, seed], stream)) = split_head(bytes) else { return };
    let method = method(choice);
    let at_once = read_response(method, std::iter::once(stream));
    let in_pieces = read_response(method, pieces(stream, seed));
    assert!(at_once == in_pieces, "a response depends on how it is cut");
    for chunk in at_once.0 {
        if let ResponseChunk::Success(body) = chunk {
            assert!(method.response_bounds().check(body.len() as u64).is_ok(), "an item out of bounds");
            if let Ok(item) = Item::decode(method, &body) {
                item_encodes_to(&item, &body);
            }
        }
    }
}

fn read_response<'a>(
    method: Method,
    pieces: impl Iterator<Item = &'a [u8]>,
) -> (Vec<ResponseChunk>, Result<(), FramingError>) {
    let mut decoder = ResponseDecoder::new(method.response_bounds());
    let mut chunks = Vec::new();
    for piece in pieces {
        let mut rest = piece;
        while !rest.is_empty() {
            let progress = match decoder.push(rest) {
                Ok(progress) => progress,
                Err(error) => return (chunks, Err(error)),
            };
            let whole = progress.consumed == rest.len();
            assert!(whole || progress.chunk.is_some(), "bytes are left although no chunk is complete");
            chunks.extend(progress.chunk);
            rest = rest.get(progress.consumed..).unwrap_or_default();
        }
    }
    let end = decoder.finish();
    (chunks, end)
}

fn item_encodes_to(item: &Item, bytes: &[u8]) {
    match item {
        Item::Status(status) => encodes_to(status, bytes),
        Item::Pong(number) => assert!(encode(number) == bytes, "a number does not encode to its bytes"),
        Item::DecidedValue(decided) => encodes_to(&**decided, bytes),
        Item::ValidatorSet(set) => encodes_to(set, bytes),
        Item::Payload(envelope) => encodes_to(envelope, bytes),
        Item::Blob(sidecar) => encodes_to(sidecar, bytes),
    }
}
