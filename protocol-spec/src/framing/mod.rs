//! Framing of requests and responses: length prefix, snappy frames, result byte.
//!
//! The module owns the byte layout of one exchange and nothing else. It works on slices that a caller has read from a
//! stream, keeps no clock and does no IO. `spec/framing.md` is the normative text.
//!
//! ```text
//! request  ::= varint(n) | payload(n)                   then the requester closes its side
//! response ::= chunk*                                   then the responder closes
//! chunk    ::= result (1 byte) | varint(n) | payload(n)
//! payload  ::= identifier | frame*                      snappy frame format, n bytes once decoded
//! ```
//!
//! # Reading
//! [`RequestDecoder`] and [`ResponseDecoder`] are fed whatever the socket gave, in slices of any size, and decode each
//! byte once. A response is taken apart chunk by chunk: [`ResponseDecoder::push`] stops after the last byte of a chunk
//! and says how many bytes it took, so that nothing behind it is decoded before the caller has dealt with it.
//!
//! Memory: an announced length is compared with the [`LengthBounds`] of the type before anything is allocated for it,
//! and the payload's buffer then grows with the decoded bytes: at most the larger of [`FIRST_RESERVE`] and twice what
//! arrived, never above `n`. Beside it at most one compressed frame ([`MAX_FRAME_BODY`]) is held.
//!
//! ```
//! use lapis_protocol_spec::framing::{Encoder, LengthBounds, ResponseChunk, ResponseDecoder};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let bounds = LengthBounds::fixed(8);
//! let mut stream = Vec::new(); // two chunks, as one read may bring them
//! for number in [1_u64, 2] {
//!     let mut write = Vec::new();
//!     Encoder::new().chunk(bounds, &[&number.to_le_bytes()], &mut write)?;
//!     stream.append(&mut write);
//! }
//!
//! let mut decoder = ResponseDecoder::new(bounds);
//! let mut items = Vec::new();
//! let mut unread = stream.as_slice();
//! while !unread.is_empty() {
//!     let progress = decoder.push(unread)?;
//!     unread = unread.get(progress.consumed..).unwrap_or_default();
//!     if let Some(ResponseChunk::Success(item)) = progress.chunk {
//!         items.push(item); // checked and stored here, before the next chunk is looked at
//!     }
//! }
//! decoder.finish()?; // the stream ended between two chunks
//! assert_eq!(items, [&1_u64.to_le_bytes()[..], &2_u64.to_le_bytes()[..]]);
//! # Ok(())
//! # }
//! ```
//!
//! # Decisions where the snappy format leaves a choice
//! - The identifier stands once, at the very start. A missing, a damaged and a second one are errors: a payload is one
//!   stream under one prefix, never a concatenation of several.
//! - A data frame's body is at most [`MAX_FRAME_BODY`] bytes, whether compressed or not: a compressed form that is
//!   longer than the data has no reason to exist. The header alone is enough to refuse it.
//! - Frames without data are legal and counted like skippable ones: every byte after the prefix counts against
//!   [`compressed_bound`].
//! - A payload ends with the frame that completes `n` bytes. In a request nothing may follow it; in a response the next
//!   byte is a result byte.
//! - An empty payload (`n == 0`) is written as the identifier alone, and read with or without it: some
//!   implementations write it, some do not. It is complete at its prefix, so a reader never waits for the identifier;
//!   a byte `0xff` directly after the prefix of an empty payload always begins the identifier, never a chunk of
//!   result 255.

mod bounds;
mod code;
mod encoder;
mod error;
mod payload;
mod request;
mod response;
mod snappy;
pub mod varint;

pub use bounds::LengthBounds;
pub use code::{ErrorCode, UnknownCode};
pub use encoder::Encoder;
pub use error::{EncodeError, ErrorKind, FramingError};
pub use payload::FIRST_RESERVE;
pub use request::RequestDecoder;
pub use response::{Progress, ResponseChunk, ResponseDecoder};
pub use snappy::{MAX_FRAME_BODY, MAX_FRAME_DATA, STREAM_IDENTIFIER, compressed_bound};

/// Most bytes that the text of an error chunk may have.
pub const MAX_ERROR_MESSAGE: usize = 256;

#[cfg(test)]
mod tests;
