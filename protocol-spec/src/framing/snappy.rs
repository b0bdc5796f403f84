//! The snappy frame format: constants, frame headers, checksums, the stream identifier.
//!
//! Source: <https://github.com/google/snappy/blob/main/framing_format.txt>.

use super::FramingError;

/// The frame that every snappy stream begins with.
pub const STREAM_IDENTIFIER: [u8; 10] = *b"\xff\x06\x00\x00sNaPpY";

/// Most bytes of data in one frame, once decompressed.
pub const MAX_FRAME_DATA: usize = 65_536;

/// Most bytes that may follow the header of a data frame: checksum and [`MAX_FRAME_DATA`].
pub const MAX_FRAME_BODY: usize = MAX_FRAME_DATA + CHECKSUM_SIZE;

/// Type byte and 24-bit length.
pub(super) const HEADER_SIZE: usize = 4;
/// Masked CRC-32C of a frame's data, little endian.
pub(super) const CHECKSUM_SIZE: usize = 4;

pub(super) const COMPRESSED: u8 = 0x00;
pub(super) const UNCOMPRESSED: u8 = 0x01;
const RESERVED_FIRST: u8 = 0x02;
const RESERVED_LAST: u8 = 0x7f;
const SKIPPABLE_FIRST: u8 = 0x80;
const SKIPPABLE_LAST: u8 = 0xfe;
const IDENTIFIER: u8 = 0xff;

/// A compressed block is never empty: it begins with the length of its data.
const MIN_BLOCK_SIZE: usize = 1;

/// Bytes of [`STREAM_IDENTIFIER`] after its header.
const IDENTIFIER_BODY: usize = STREAM_IDENTIFIER.len() - HEADER_SIZE;

/// Most compressed bytes that may follow the prefix of a payload of `length` bytes: snappy's own worst case.
///
/// Frames, headers and padding all count. Source: `max_encoded_len` of the Ethereum consensus specs.
#[must_use]
pub const fn compressed_bound(length: usize) -> usize {
    32_usize.saturating_add(length).saturating_add(length / 6)
}

/// What a frame header announces; the length is that of the part that follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FrameHeader {
    Identifier,
    /// Checksum and block, together `body` bytes.
    Compressed {
        body: usize,
    },
    /// Checksum, then `data` bytes.
    Uncompressed {
        data: usize,
    },
    Skippable {
        body: usize,
    },
}

impl FrameHeader {
    /// Reads a header and refuses what can be refused by it alone.
    pub(super) fn parse(header: [u8; HEADER_SIZE]) -> Result<Self, FramingError> {
        let [kind, low, middle, high] = header;
        let length = usize::from(low) | usize::from(middle) << 8 | usize::from(high) << 16;
        match kind {
            COMPRESSED => {
                check_body(length, CHECKSUM_SIZE + MIN_BLOCK_SIZE)?;
                Ok(Self::Compressed { body: length })
            }
            UNCOMPRESSED => {
                check_body(length, CHECKSUM_SIZE)?;
                Ok(Self::Uncompressed { data: length - CHECKSUM_SIZE })
            }
            RESERVED_FIRST..=RESERVED_LAST => Err(FramingError::FrameReserved { kind }),
            SKIPPABLE_FIRST..=SKIPPABLE_LAST => Ok(Self::Skippable { body: length }),
            IDENTIFIER if length != IDENTIFIER_BODY => Err(FramingError::IdentifierCorrupt),
            IDENTIFIER => Ok(Self::Identifier),
        }
    }

    /// Bytes that follow the header.
    pub(super) const fn body(self) -> usize {
        match self {
            Self::Identifier => IDENTIFIER_BODY,
            Self::Compressed { body } | Self::Skippable { body } => body,
            Self::Uncompressed { data } => CHECKSUM_SIZE + data,
        }
    }
}

const fn check_body(length: usize, min: usize) -> Result<(), FramingError> {
    if length < min {
        return Err(FramingError::FrameTooShort { length });
    }
    if length > MAX_FRAME_BODY {
        return Err(FramingError::FrameOversized { length });
    }
    Ok(())
}

/// The checksum as it stands in a frame: a CRC-32C, rotated and offset.
pub(super) const fn mask(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

/// Compares the masked checksum of a frame with the CRC-32C of its data.
pub(super) fn verify_checksum(stored: [u8; CHECKSUM_SIZE], crc: u32) -> Result<(), FramingError> {
    let (expected, computed) = (u32::from_le_bytes(stored), mask(crc));
    if expected == computed { Ok(()) } else { Err(FramingError::ChecksumMismatch { expected, computed }) }
}

/// Matches incoming bytes with the rest of the stream identifier.
#[derive(Clone, Copy, Debug)]
pub(super) struct IdentifierMatch {
    missing: &'static [u8],
}

impl IdentifierMatch {
    /// Nothing seen yet.
    pub(super) fn start() -> Self {
        Self { missing: &STREAM_IDENTIFIER }
    }

    /// Its header has been read.
    pub(super) fn after_header() -> Self {
        Self { missing: STREAM_IDENTIFIER.get(HEADER_SIZE..).unwrap_or_default() }
    }

    /// Takes what belongs to the identifier and returns the rest.
    pub(super) fn push<'a>(&mut self, input: &'a [u8]) -> Result<&'a [u8], FramingError> {
        let length = self.missing.len().min(input.len());
        let (seen, rest) = input.split_at(length);
        let (expected, missing) = self.missing.split_at(length);
        if seen != expected {
            return Err(FramingError::IdentifierCorrupt);
        }
        self.missing = missing;
        Ok(rest)
    }

    pub(super) const fn is_complete(&self) -> bool {
        self.missing.is_empty()
    }
}

/// What may follow the prefix of an empty payload: the identifier, or nothing.
#[derive(Clone, Copy, Debug)]
pub(super) enum EmptyTail {
    /// No byte seen: the identifier is left out, as far as one can tell.
    Absent,
    Within(IdentifierMatch),
    Complete,
}

impl EmptyTail {
    /// Takes the bytes of the identifier, if the input begins with it, and returns the rest.
    pub(super) fn push<'a>(&mut self, input: &'a [u8]) -> Result<&'a [u8], FramingError> {
        let mut within = match self {
            Self::Absent if input.first() == STREAM_IDENTIFIER.first() => IdentifierMatch::start(),
            Self::Within(within) => *within,
            Self::Absent | Self::Complete => return Ok(input),
        };
        let rest = within.push(input)?;
        *self = if within.is_complete() { Self::Complete } else { Self::Within(within) };
        Ok(rest)
    }

    /// # Errors
    /// [`FramingError::EndedInPayload`] within the identifier.
    pub(super) const fn finish(&self) -> Result<(), FramingError> {
        match self {
            Self::Absent | Self::Complete => Ok(()),
            Self::Within(_) => Err(FramingError::EndedInPayload),
        }
    }
}
