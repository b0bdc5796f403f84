//! Archives: a range of whole heights as one file or stream.
//!
//! The module owns the byte layout; `spec/archive.md` is the normative text. It works on slices that a caller has read,
//! and does neither IO nor compression. Nothing in an archive is believed because it is in one: what comes out is as plain
//! as what a peer sends, and goes through the same gates.
//!
//! ```text
//! archive ::= header | body                     the body compressed as the header says
//! body    ::= record* | end                     one record per height, ascending, none left out
//! record  ::= height | set{0..2} | decided value | payload | sidecar* | checksum
//! frame   ::= kind (1 byte) | length (4 bytes) | content
//! ```
//!
//! A record is stored in parts, and an [`Index`] beside an archive says where each of them is: so that a reader can
//! fetch the payload or some blobs of a height alone. [`Decoder::of_payload_part`] and [`Decoder::of_sidecar_part`]
//! read them.
//!
//! # Reading
//! [`HeaderDecoder`] and then [`Decoder`] say how many bytes they want next and are given exactly those. A record is taken
//! apart frame by frame, so a height of thousands of blobs takes the memory of one. What a decoder wants is bounded by the
//! type that is due, but up to 96 MiB for a payload: a reader lets its buffer grow with the bytes that arrive.
//!
//! ```
//! use lapis_protocol_spec::archive::{Decoder, Event, HeaderDecoder, Header};
//!
//! fn read(mut archive: &[u8]) -> Result<(Header, Vec<Event>), Box<dyn std::error::Error>> {
//!     let mut take = |count: usize| {
//!         let (taken, rest) = archive.split_at(count.min(archive.len()));
//!         archive = rest;
//!         taken
//!     };
//!     let mut head = HeaderDecoder::new();
//!     let header = loop {
//!         if let Some(header) = head.accept(take(head.wants()))? {
//!             break header;
//!         }
//!     };
//!     let mut decoder = Decoder::new(&header);
//!     let mut events = Vec::new();
//!     while !decoder.is_complete() {
//!         events.extend(decoder.accept(take(decoder.wants()))?);
//!     }
//!     Ok((header, events))
//! }
//! assert!(read(b"no archive").is_err());
//! ```

mod decoder;
mod encoder;
mod error;
mod fields;
mod frame;
mod header;
mod index;
mod part;
mod progress;

pub use decoder::{Decoder, Event, Trailer};
pub use encoder::{EncodeError, Encoder};
pub use error::{ArchiveError, ArchiveFault};
pub use frame::FrameKind;
pub use header::{Compression, Header, HeaderDecoder};
pub use index::{
    INDEX_MAGIC, INDEX_VERSION, Index, IndexBuilder, IndexError, IndexFault, IndexRecord, MAX_INDEX_BYTES,
    MAX_INDEX_HEIGHTS,
};
pub use part::{PART_SIDECARS, SidecarPart, part_count};

/// The first bytes of an archive. A byte above 127 and a line end show what a transfer as text has done to it.
pub const MAGIC: [u8; 8] = [0x89, b'L', b'A', b'P', b'I', b'S', 0x0d, 0x0a];
/// The version of the format that is written and read here.
pub const VERSION: u16 = 1;
/// Binary logarithm of the largest window, in bytes, of a zstd frame in an archive: 8 MiB bounds a reader's memory.
pub const MAX_ZSTD_WINDOW_LOG: u32 = 23;
/// Most validator sets in one record: the one that signs and the one that signs next.
pub const MAX_RECORD_SETS: u8 = 2;

/// Bytes of an xxh3-64.
const CHECKSUM_BYTES: usize = 8;

#[cfg(test)]
mod tests;
