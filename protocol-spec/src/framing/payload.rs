//! One payload of known length, out of snappy frames.
//!
//! Owns the decoded bytes and, while a compressed frame is incomplete, the carry: the part of it that has arrived.

use bytes::Bytes;
use snap::raw::decompress_len;

use super::FramingError;
use super::snappy::{
    CHECKSUM_SIZE, EmptyTail, FrameHeader, HEADER_SIZE, IdentifierMatch, MAX_FRAME_DATA, compressed_bound,
    verify_checksum,
};

/// Capacity, in bytes, that a payload is given with its first data, unless it is shorter: enough for a blob sidecar, so
/// that those are never moved, and little beside what a connection costs anyway.
pub const FIRST_RESERVE: usize = 4 * MAX_FRAME_DATA;

/// Where in a frame the decoder stands. Counts are of bytes that have not arrived yet, unless named otherwise.
#[derive(Clone, Copy, Debug)]
enum State {
    Header(Fill<HEADER_SIZE>),
    Identifier(IdentifierMatch),
    /// `body` is the whole frame body; the carry holds what has arrived of it.
    Compressed {
        body: usize,
    },
    Checksum {
        stored: Fill<CHECKSUM_SIZE>,
        data: usize,
    },
    Uncompressed {
        stored: [u8; CHECKSUM_SIZE],
        crc: u32,
        left: usize,
    },
    Skipping {
        left: usize,
    },
}

const AT_HEADER: State = State::Header(Fill::EMPTY);

/// Decodes the frames of one payload after the other; [`PayloadDecoder::begin`] starts each.
///
/// After an error the decoder must not be fed again.
#[derive(Debug)]
pub(super) struct PayloadDecoder {
    /// Announced bytes, within the bounds of the type.
    length: usize,
    /// Compressed bytes that may still come.
    budget: usize,
    identified: bool,
    state: State,
    carry: Vec<u8>,
    block: snap::raw::Decoder,
    payload: Vec<u8>,
}

impl PayloadDecoder {
    pub(super) fn new() -> Self {
        Self {
            length: 0,
            budget: 0,
            identified: false,
            state: AT_HEADER,
            carry: Vec::new(),
            block: snap::raw::Decoder::new(),
            payload: Vec::new(),
        }
    }

    /// Starts a payload of `length` bytes, which the caller has compared with the bounds of its type.
    pub(super) fn begin(&mut self, length: usize) {
        self.length = length;
        self.budget = compressed_bound(length);
        self.identified = false;
        self.state = AT_HEADER;
        self.carry.clear();
        self.payload = Vec::new();
    }

    /// Whether all announced bytes are decoded. The step that brings the last of them also checks their frame, and no
    /// frame is begun after it, so a complete payload is a checked one that ended with its frame.
    pub(super) const fn is_complete(&self) -> bool {
        self.payload.len() == self.length
    }

    /// What may follow this payload once it is complete: the identifier of an empty one.
    pub(super) const fn tail(&self) -> EmptyTail {
        if self.length == 0 { EmptyTail::Absent } else { EmptyTail::Complete }
    }

    /// The decoded bytes; the decoder is left without any.
    pub(super) fn take(&mut self) -> Bytes {
        Bytes::from(std::mem::take(&mut self.payload))
    }

    /// Takes bytes up to the end of the payload and returns the rest, which is empty unless the payload is complete.
    pub(super) fn push<'a>(&mut self, input: &'a [u8]) -> Result<&'a [u8], FramingError> {
        let mut rest = input;
        while !rest.is_empty() && !self.is_complete() {
            rest = self.step(rest)?;
        }
        Ok(rest)
    }

    /// Takes at least one byte of a non-empty input, or leaves a state that waits for none.
    fn step<'a>(&mut self, input: &'a [u8]) -> Result<&'a [u8], FramingError> {
        match self.state {
            State::Header(header) => self.header(header, input),
            State::Identifier(mut identifier) => {
                let rest = identifier.push(input)?;
                self.identified = identifier.is_complete();
                self.state = if self.identified { AT_HEADER } else { State::Identifier(identifier) };
                Ok(rest)
            }
            State::Compressed { body } => self.compressed(body, input),
            State::Checksum { mut stored, data } => {
                let (filled, rest) = stored.push(input);
                match filled {
                    Some(stored) => self.uncompressed(stored, 0, data, &[])?,
                    None => self.state = State::Checksum { stored, data },
                }
                Ok(rest)
            }
            State::Uncompressed { stored, crc, left } => {
                let (data, rest) = input.split_at(left.min(input.len()));
                self.uncompressed(stored, crc, left, data)?;
                Ok(rest)
            }
            State::Skipping { left } => {
                let (skipped, rest) = input.split_at(left.min(input.len()));
                self.skip(left - skipped.len());
                Ok(rest)
            }
        }
    }

    fn header<'a>(&mut self, mut header: Fill<HEADER_SIZE>, input: &'a [u8]) -> Result<&'a [u8], FramingError> {
        if self.budget < HEADER_SIZE {
            return Err(self.over_budget());
        }
        let (filled, rest) = header.push(input);
        self.state = match filled {
            Some(bytes) => self.enter(FrameHeader::parse(bytes))?,
            None => State::Header(header),
        };
        Ok(rest)
    }

    /// Admits the frame whose header has been read: order, room in the payload, then the compressed bound, so that no
    /// byte of a frame that cannot be accepted is waited for.
    fn enter(&mut self, header: Result<FrameHeader, FramingError>) -> Result<State, FramingError> {
        match (self.identified, &header) {
            (false, Ok(FrameHeader::Identifier) | Err(FramingError::IdentifierCorrupt)) | (true, Err(_)) => {}
            (false, _) => return Err(FramingError::IdentifierMissing),
            (true, Ok(FrameHeader::Identifier)) => return Err(FramingError::IdentifierRepeated),
            (true, Ok(FrameHeader::Uncompressed { data })) if *data > self.room() => {
                return Err(FramingError::PayloadTooLong { length: self.length });
            }
            (true, Ok(_)) => {}
        }
        let header = header?;
        let Some(budget) = self.budget.checked_sub(HEADER_SIZE + header.body()) else {
            return Err(self.over_budget());
        };
        self.budget = budget;
        Ok(match header {
            FrameHeader::Identifier => State::Identifier(IdentifierMatch::after_header()),
            FrameHeader::Compressed { body } => State::Compressed { body },
            FrameHeader::Uncompressed { data } => State::Checksum { stored: Fill::EMPTY, data },
            FrameHeader::Skippable { body } => State::Skipping { left: body },
        })
    }

    /// Decodes a frame straight from the input if it lies there whole, else collects it in the carry first.
    fn compressed<'a>(&mut self, body: usize, input: &'a [u8]) -> Result<&'a [u8], FramingError> {
        let (arrived, rest) = input.split_at(input.len().min(body - self.carry.len()));
        if arrived.len() == body {
            self.decompress(arrived)?;
            self.state = AT_HEADER;
            return Ok(rest);
        }
        grow(&mut self.carry, arrived.len(), body, 0);
        self.carry.extend_from_slice(arrived);
        if self.carry.len() == body {
            let carry = std::mem::take(&mut self.carry);
            self.decompress(&carry)?;
            self.carry = carry;
            self.carry.clear();
            self.state = AT_HEADER;
        }
        Ok(rest)
    }

    /// Appends the data of a compressed frame's body to the payload.
    fn decompress(&mut self, body: &[u8]) -> Result<(), FramingError> {
        let Some((stored, block)) = body.split_first_chunk::<CHECKSUM_SIZE>() else {
            return Err(FramingError::FrameTooShort { length: body.len() });
        };
        let length = decompress_len(block).map_err(|_| FramingError::FrameCorrupt)?;
        if length > MAX_FRAME_DATA {
            return Err(FramingError::FrameDataOversized { length });
        }
        if length > self.room() {
            return Err(FramingError::PayloadTooLong { length: self.length });
        }
        let start = self.payload.len();
        grow(&mut self.payload, length, self.length, FIRST_RESERVE);
        self.payload.resize(start + length, 0);
        let data = self.payload.get_mut(start..).unwrap_or_default();
        let written = self.block.decompress(block, data).map_err(|_| FramingError::FrameCorrupt)?;
        if written != length {
            return Err(FramingError::FrameCorrupt);
        }
        verify_checksum(*stored, crc32c::crc32c(data))
    }

    /// Appends `data`, the next of the `left` missing bytes of an uncompressed frame; `crc` covers those before it.
    fn uncompressed(
        &mut self,
        stored: [u8; CHECKSUM_SIZE],
        crc: u32,
        left: usize,
        data: &[u8],
    ) -> Result<(), FramingError> {
        grow(&mut self.payload, data.len(), self.length, FIRST_RESERVE);
        self.payload.extend_from_slice(data);
        let crc = crc32c::crc32c_append(crc, data);
        let left = left - data.len();
        if left == 0 {
            verify_checksum(stored, crc)?;
            self.state = AT_HEADER;
        } else {
            self.state = State::Uncompressed { stored, crc, left };
        }
        Ok(())
    }

    const fn skip(&mut self, left: usize) {
        self.state = if left == 0 { AT_HEADER } else { State::Skipping { left } };
    }

    /// Announced bytes that no frame has brought yet.
    fn room(&self) -> usize {
        self.length.saturating_sub(self.payload.len())
    }

    const fn over_budget(&self) -> FramingError {
        FramingError::CompressedBoundExceeded { bound: compressed_bound(self.length) }
    }
}

/// Makes room for `additional` bytes: at least doubling, at least `floor`, but no capacity above `limit` is asked for.
fn grow(buffer: &mut Vec<u8>, additional: usize, limit: usize, floor: usize) {
    let required = buffer.len() + additional;
    if required > buffer.capacity() {
        let generous = buffer.capacity().saturating_mul(2).max(floor).min(limit);
        buffer.reserve_exact(generous.max(required) - buffer.len());
    }
}

/// A field of `N` bytes that arrives in pieces.
#[derive(Clone, Copy, Debug)]
struct Fill<const N: usize> {
    bytes: [u8; N],
    length: usize,
}

impl<const N: usize> Fill<N> {
    const EMPTY: Self = Self { bytes: [0; N], length: 0 };

    /// Takes missing bytes; returns the field once it is whole, and the rest of the input.
    fn push<'a>(&mut self, input: &'a [u8]) -> (Option<[u8; N]>, &'a [u8]) {
        let missing = self.bytes.get_mut(self.length..).unwrap_or_default();
        let (arrived, rest) = input.split_at(missing.len().min(input.len()));
        for (slot, byte) in missing.iter_mut().zip(arrived) {
            *slot = *byte;
        }
        self.length += arrived.len();
        ((self.length == N).then_some(self.bytes), rest)
    }
}
