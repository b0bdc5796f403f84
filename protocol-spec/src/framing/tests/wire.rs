//! Hand-made wire bytes, and one-shot decoding.

use bytes::Bytes;

use crate::framing::snappy::mask;
use crate::framing::{
    FramingError, LengthBounds, MAX_FRAME_DATA, RequestDecoder, ResponseChunk, ResponseDecoder, STREAM_IDENTIFIER,
    varint::Varint,
};

pub(super) const UP_TO_1_MIB: LengthBounds = LengthBounds::between(0, 1 << 20);

/// Bytes of a sidecar, three frames.
pub(super) const SIDECAR: usize = 131_184;

pub(super) fn join<P: AsRef<[u8]>>(parts: impl IntoIterator<Item = P>) -> Vec<u8> {
    parts.into_iter().flat_map(|part| part.as_ref().to_vec()).collect()
}

pub(super) fn prefix(length: usize) -> Vec<u8> {
    Varint::new(length as u64).as_bytes().to_vec()
}

pub(super) fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap().to_le_bytes();
    join([&[kind], &length[..3], body])
}

pub(super) fn checksum(data: &[u8]) -> [u8; 4] {
    mask(crc32c::crc32c(data)).to_le_bytes()
}

/// An uncompressed frame.
pub(super) fn stored(data: &[u8]) -> Vec<u8> {
    frame(1, &join([&checksum(data), data]))
}

/// A compressed frame.
pub(super) fn packed(data: &[u8]) -> Vec<u8> {
    let block = snap::raw::Encoder::new().compress_vec(data).unwrap();
    frame(0, &join([&checksum(data)[..], &block]))
}

pub(super) fn padding(length: usize) -> Vec<u8> {
    frame(0xfe, &vec![0; length])
}

/// Identifier and uncompressed frames.
pub(super) fn stream(data: &[u8]) -> Vec<u8> {
    let frames = data.chunks(MAX_FRAME_DATA).map(stored);
    join(std::iter::once(STREAM_IDENTIFIER.to_vec()).chain(frames))
}

/// Prefix and [`stream`].
pub(super) fn payload(data: &[u8]) -> Vec<u8> {
    join([prefix(data.len()), stream(data)])
}

pub(super) fn success(data: &[u8]) -> Vec<u8> {
    join([vec![0], payload(data)])
}

pub(super) fn failure(code: u8, message: &[u8]) -> Vec<u8> {
    join([vec![code], payload(message)])
}

/// A payload of `length` announced bytes in the given frames, after an identifier.
pub(super) fn framed<const N: usize>(length: usize, frames: [Vec<u8>; N]) -> Vec<u8> {
    join([prefix(length), STREAM_IDENTIFIER.to_vec(), join(frames)])
}

/// Bytes that snappy cannot compress.
pub(super) fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    })
    .flatten()
    .take(length)
    .collect()
}

pub(super) fn request(bounds: LengthBounds, wire: &[u8]) -> Result<Bytes, FramingError> {
    request_in_pieces(bounds, [wire])
}

pub(super) fn request_in_pieces<'a>(
    bounds: LengthBounds,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Bytes, FramingError> {
    let mut decoder = RequestDecoder::new(bounds);
    for piece in pieces {
        decoder.push(piece)?;
    }
    decoder.finish()
}

/// The chunks of a response, and how it ended.
pub(super) type Decoded = (Vec<ResponseChunk>, Result<(), FramingError>);

pub(super) fn response(bounds: LengthBounds, wire: &[u8]) -> Decoded {
    response_in_pieces(bounds, [wire])
}

pub(super) fn response_in_pieces<'a>(bounds: LengthBounds, pieces: impl IntoIterator<Item = &'a [u8]>) -> Decoded {
    let mut decoder = ResponseDecoder::new(bounds);
    let mut chunks = Vec::new();
    for piece in pieces {
        if let Err(error) = feed(&mut decoder, piece, &mut chunks) {
            assert_eq!(decoder.finish(), Err(error), "the error stays");
            return (chunks, Err(error));
        }
    }
    (chunks, decoder.finish())
}

fn feed(decoder: &mut ResponseDecoder, piece: &[u8], chunks: &mut Vec<ResponseChunk>) -> Result<(), FramingError> {
    let mut rest = piece;
    while !rest.is_empty() {
        let progress = decoder.push(rest)?;
        assert!(progress.chunk.is_some() || progress.consumed == rest.len(), "takes all unless a chunk is complete");
        assert!(progress.consumed > 0, "goes on");
        rest = &rest[progress.consumed..];
        chunks.extend(progress.chunk);
    }
    Ok(())
}

pub(super) fn item(data: &[u8]) -> ResponseChunk {
    ResponseChunk::Success(Bytes::copy_from_slice(data))
}
