//! Frames: kind, length, content.

use std::fmt;

use crate::{Method, framing::LengthBounds};

/// Bytes before a frame's content: its kind and its length.
pub(super) const FRAME_HEAD_BYTES: usize = 1 + 4;
/// Content of [`FrameKind::Height`]: height and length of the rest of the record.
pub(super) const HEIGHT_BYTES: usize = 8 + 8;
/// Content of [`FrameKind::End`]: heights, last value id, checksum.
pub(super) const END_BYTES: usize = 8 + 32 + super::CHECKSUM_BYTES;

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum FrameKind {
    /// Begins the record of a height.
    Height = 1,
    /// A validator set that becomes known with the height.
    ValidatorSet = 2,
    /// The value and its certificate.
    DecidedValue = 3,
    /// The payload envelope.
    Payload = 4,
    /// One blob sidecar.
    Sidecar = 5,
    /// Ends the record with its checksum.
    HeightEnd = 6,
    /// Ends the archive.
    End = 7,
}

impl FrameKind {
    const ALL: [Self; 7] = [
        Self::Height,
        Self::ValidatorSet,
        Self::DecidedValue,
        Self::Payload,
        Self::Sidecar,
        Self::HeightEnd,
        Self::End,
    ];

    pub(super) fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.byte() == byte)
    }

    /// The kind as it is written.
    #[must_use]
    pub const fn byte(self) -> u8 {
        self as u8
    }

    /// Legal lengths of the content in bytes: for objects those that they have on the wire.
    #[must_use]
    pub fn bounds(self) -> LengthBounds {
        match self {
            Self::Height => LengthBounds::fixed(HEIGHT_BYTES),
            Self::ValidatorSet => Method::ValidatorSetByRoot.response_bounds(),
            Self::DecidedValue => Method::DecidedValuesByRange.response_bounds(),
            Self::Payload => Method::PayloadsByRange.response_bounds(),
            Self::Sidecar => Method::BlobsByRange.response_bounds(),
            Self::HeightEnd => LengthBounds::fixed(super::CHECKSUM_BYTES),
            Self::End => LengthBounds::fixed(END_BYTES),
        }
    }
}

/// Appends what is before the content of a frame.
///
/// The bounds of all kinds are far below 4 GiB, and lengths are held against them.
pub(super) fn head(kind: FrameKind, length: usize, out: &mut Vec<u8>) {
    out.push(kind.byte());
    out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
}

impl fmt::Display for FrameKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Height => "height",
            Self::ValidatorSet => "validator set",
            Self::DecidedValue => "decided value",
            Self::Payload => "payload",
            Self::Sidecar => "sidecar",
            Self::HeightEnd => "end of height",
            Self::End => "end of archive",
        })
    }
}
