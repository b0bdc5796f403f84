//! What can be wrong with the bytes of an exchange.

use thiserror::Error;

/// The other side's bytes break the framing. Always the peer's doing, except that a truncation may be the network's:
/// see [`FramingError::kind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FramingError {
    /// The tenth byte of the length prefix announces another one.
    #[error("length prefix longer than 10 bytes")]
    PrefixTooLong,
    /// The length prefix does not fit 64 bits.
    #[error("length prefix above 2^64 - 1")]
    PrefixOverflow,
    /// The length prefix is longer than its value needs.
    #[error("length prefix not in its shortest form")]
    PrefixNotMinimal,
    /// More bytes announced than the type can have.
    #[error("length {length} above the maximum {max} of the type")]
    LengthAboveMaximum {
        /// Announced bytes.
        length: u64,
        /// Largest length of the type in bytes.
        max: usize,
    },
    /// Fewer bytes announced than the type needs.
    #[error("length {length} below the minimum {min} of the type")]
    LengthBelowMinimum {
        /// Announced bytes.
        length: usize,
        /// Smallest length of the type in bytes.
        min: usize,
    },
    /// A frame stands before the stream identifier.
    #[error("snappy stream identifier missing")]
    IdentifierMissing,
    /// The stream identifier stands a second time.
    #[error("second snappy stream identifier")]
    IdentifierRepeated,
    /// The stream identifier has a wrong length or wrong bytes.
    #[error("snappy stream identifier damaged")]
    IdentifierCorrupt,
    /// A frame of a reserved type that must not be skipped (0x02 to 0x7f).
    #[error("reserved snappy frame type {kind:#04x}")]
    FrameReserved {
        /// The frame's type byte.
        kind: u8,
    },
    /// A data frame whose header announces more than [`super::MAX_FRAME_BODY`] bytes.
    #[error("snappy frame of {length} bytes is oversized")]
    FrameOversized {
        /// Announced bytes after the header.
        length: usize,
    },
    /// A data frame too short for its checksum and a block.
    #[error("snappy frame of {length} bytes is too short")]
    FrameTooShort {
        /// Announced bytes after the header.
        length: usize,
    },
    /// A compressed frame that inflates to more than [`super::MAX_FRAME_DATA`] bytes.
    #[error("snappy frame inflates to {length} bytes")]
    FrameDataOversized {
        /// Announced bytes of data.
        length: usize,
    },
    /// A compressed frame that is not a snappy block.
    #[error("snappy frame does not decompress")]
    FrameCorrupt,
    /// A frame's data does not have the frame's checksum.
    #[error("snappy frame checksum {expected:#010x}, data has {computed:#010x}")]
    ChecksumMismatch {
        /// Masked CRC-32C in the frame.
        expected: u32,
        /// Masked CRC-32C of the data.
        computed: u32,
    },
    /// More compressed bytes than a payload of that length can need.
    #[error("more than {bound} compressed bytes")]
    CompressedBoundExceeded {
        /// [`super::compressed_bound`] of the announced length.
        bound: usize,
    },
    /// The frames hold more bytes than the prefix announced.
    #[error("payload longer than the announced {length} bytes")]
    PayloadTooLong {
        /// Announced bytes.
        length: usize,
    },
    /// Something follows a complete request.
    #[error("bytes after the request")]
    BytesAfterRequest,
    /// Something follows an error chunk, which ends a response.
    #[error("bytes after an error chunk")]
    BytesAfterErrorChunk,
    /// The stream ended before or within the length prefix.
    #[error("stream ended before the length prefix was complete")]
    EndedInPrefix,
    /// The stream ended within the payload.
    #[error("stream ended within the payload")]
    EndedInPayload,
}

/// What sort of failure a [`FramingError`] is; the price of each is set by whoever scores peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The stream ended early: the peer, or a connection that broke.
    Truncated,
    /// An item larger than its type allows was announced.
    Oversized,
    /// Bytes that no correct writer produces.
    Malformed,
}

impl FramingError {
    /// The sort of this failure.
    #[must_use]
    pub const fn kind(self) -> ErrorKind {
        match self {
            Self::EndedInPrefix | Self::EndedInPayload => ErrorKind::Truncated,
            Self::LengthAboveMaximum { .. } => ErrorKind::Oversized,
            Self::PrefixTooLong
            | Self::PrefixOverflow
            | Self::PrefixNotMinimal
            | Self::LengthBelowMinimum { .. }
            | Self::IdentifierMissing
            | Self::IdentifierRepeated
            | Self::IdentifierCorrupt
            | Self::FrameReserved { .. }
            | Self::FrameOversized { .. }
            | Self::FrameTooShort { .. }
            | Self::FrameDataOversized { .. }
            | Self::FrameCorrupt
            | Self::ChecksumMismatch { .. }
            | Self::CompressedBoundExceeded { .. }
            | Self::PayloadTooLong { .. }
            | Self::BytesAfterRequest
            | Self::BytesAfterErrorChunk => ErrorKind::Malformed,
        }
    }
}

/// An item of our own that must not be sent. Never the peer's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum EncodeError {
    /// The payload is shorter or longer than its type can be.
    #[error("own payload of {length} bytes, the type has {min} to {max}")]
    LengthOutOfBounds {
        /// Bytes of the payload.
        length: usize,
        /// Smallest length of the type in bytes.
        min: usize,
        /// Largest length of the type in bytes.
        max: usize,
    },
}
