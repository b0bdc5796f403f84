//! Writing requests and chunks.

use snap::raw::max_compress_len;

use super::code::SUCCESS;
use super::snappy::{CHECKSUM_SIZE, COMPRESSED, HEADER_SIZE, MAX_FRAME_DATA, STREAM_IDENTIFIER, UNCOMPRESSED, mask};
use super::varint::{MAX_LENGTH, Varint};
use super::{EncodeError, ErrorCode, LengthBounds, MAX_ERROR_MESSAGE};

const FRAME_OVERHEAD: usize = HEADER_SIZE + CHECKSUM_SIZE;

/// Encodes requests and chunks, each into a buffer of its own that is to be written at once.
///
/// Other implementations depend on two rules that follow from this: a prefix is never split over two writes, and two
/// chunks never share one. So every method replaces the contents of `out`, whose allocation is kept for the next call.
///
/// A payload is given in parts that are encoded as one, so that an item can be sent from the pieces it is stored in.
/// The encoder keeps a buffer of one compressed frame; keep it for the length of an exchange.
#[derive(Debug)]
pub struct Encoder {
    block: snap::raw::Encoder,
    /// A frame's compressed form, while it is compared with the uncompressed one.
    scratch: Vec<u8>,
}

impl Default for Encoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Encoder {
    /// An encoder that holds no buffer yet.
    #[must_use]
    pub fn new() -> Self {
        Self { block: snap::raw::Encoder::new(), scratch: Vec::new() }
    }

    /// Encodes a request into `out`.
    ///
    /// # Errors
    /// [`EncodeError::LengthOutOfBounds`]; `out` is then empty.
    pub fn request(&mut self, bounds: LengthBounds, parts: &[&[u8]], out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.clear();
        self.payload(bounds, parts, out)
    }

    /// Encodes a chunk that carries an item into `out`.
    ///
    /// # Errors
    /// [`EncodeError::LengthOutOfBounds`]; `out` is then empty.
    pub fn chunk(&mut self, bounds: LengthBounds, parts: &[&[u8]], out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.clear();
        out.push(SUCCESS);
        self.payload(bounds, parts, out)
    }

    /// Encodes an error chunk, the last of a response, into `out`. A message longer than [`MAX_ERROR_MESSAGE`] bytes is
    /// cut at the last whole character that fits.
    pub fn error(&mut self, code: ErrorCode, message: &str, out: &mut Vec<u8>) {
        let end = message.floor_char_boundary(MAX_ERROR_MESSAGE);
        let message = message.as_bytes().get(..end).unwrap_or_default();
        out.clear();
        out.push(code.byte());
        self.append(message.len(), &[message], out);
    }

    fn payload(&mut self, bounds: LengthBounds, parts: &[&[u8]], out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let length = parts.iter().map(|part| part.len()).sum();
        let (min, max) = (bounds.min(), bounds.max());
        if length < min || length > max {
            out.clear();
            return Err(EncodeError::LengthOutOfBounds { length, min, max });
        }
        self.append(length, parts, out);
        Ok(())
    }

    /// Appends prefix, identifier and frames of `parts`, which hold `length` bytes together.
    fn append(&mut self, length: usize, parts: &[&[u8]], out: &mut Vec<u8>) {
        let frames = length.div_ceil(MAX_FRAME_DATA);
        out.reserve(MAX_LENGTH + STREAM_IDENTIFIER.len() + frames * FRAME_OVERHEAD + length);
        out.extend_from_slice(Varint::new(length as u64).as_bytes());
        out.extend_from_slice(&STREAM_IDENTIFIER);
        let mut parts = Parts { current: &[], later: parts };
        for _ in 0..frames {
            self.frame(&mut parts, out);
        }
    }

    /// Appends one frame with the next bytes of `parts`: they are gathered in `out` as an uncompressed frame, which is
    /// replaced by the compressed one where that saves at least an eighth.
    fn frame(&mut self, parts: &mut Parts<'_>, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[0; FRAME_OVERHEAD]);
        parts.gather(MAX_FRAME_DATA, out);
        let data = out.get(start + FRAME_OVERHEAD..).unwrap_or_default();
        let checksum = mask(crc32c::crc32c(data));
        let (kind, length) = match compress(&mut self.block, data, &mut self.scratch) {
            Some(compressed) => {
                out.truncate(start + FRAME_OVERHEAD);
                out.extend_from_slice(compressed);
                (COMPRESSED, compressed.len())
            }
            None => (UNCOMPRESSED, data.len()),
        };
        let header = out.get_mut(start..).and_then(|frame| frame.first_chunk_mut::<FRAME_OVERHEAD>());
        if let Some(header) = header {
            *header = frame_header(kind, length, checksum);
        }
    }
}

/// The compressed form of a frame's data, unless it saves less than an eighth: then it is not worth a reader's time.
fn compress<'a>(block: &mut snap::raw::Encoder, data: &[u8], scratch: &'a mut Vec<u8>) -> Option<&'a [u8]> {
    let room = max_compress_len(data.len());
    if scratch.len() < room {
        scratch.resize(room, 0);
    }
    let length = block.compress(data, scratch).ok()?;
    if length < data.len() - data.len() / 8 { scratch.get(..length) } else { None }
}

/// Type, length of checksum and data (24 bits, little endian), masked checksum.
fn frame_header(kind: u8, length: usize, checksum: u32) -> [u8; FRAME_OVERHEAD] {
    let [low, middle, high, ..] = (length + CHECKSUM_SIZE).to_le_bytes();
    let [a, b, c, d] = checksum.to_le_bytes();
    [kind, low, middle, high, a, b, c, d]
}

/// A cursor over a payload given in parts.
struct Parts<'a> {
    current: &'a [u8],
    later: &'a [&'a [u8]],
}

impl Parts<'_> {
    /// Appends the next bytes to `out`: `limit` of them, or all that are left.
    fn gather(&mut self, limit: usize, out: &mut Vec<u8>) {
        let mut missing = limit;
        while missing > 0 {
            if self.current.is_empty() {
                let Some((next, later)) = self.later.split_first() else { return };
                (self.current, self.later) = (*next, later);
            }
            let (taken, left) = self.current.split_at(missing.min(self.current.len()));
            out.extend_from_slice(taken);
            self.current = left;
            missing -= taken.len();
        }
    }
}
