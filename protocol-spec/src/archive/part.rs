//! Parts: the bytes of a record as they are stored, cut so that each can be fetched and read without the others.
//!
//! ```text
//! record       ::= payload part | sidecar part*
//! payload part ::= height | set{0..2} | decided value | payload | height_end?
//! sidecar part ::= sidecar{1..16} | height_end?                               the last part has the height_end
//! ```

use std::ops::{Range, RangeInclusive};

use super::{
    Compression, FrameKind,
    frame::{FRAME_HEAD_BYTES, HEIGHT_BYTES},
};
use crate::MAX_BLOBS_PER_BLOCK;

/// Most sidecars in one part: 2 MiB, where the time that a request takes is small beside that of its bytes, and little
/// is fetched in vain for a single blob.
pub const PART_SIDECARS: usize = 16;

/// Frames of fixed length.
const HEIGHT_FRAME_BYTES: usize = FRAME_HEAD_BYTES + HEIGHT_BYTES;
const HEIGHT_END_FRAME_BYTES: usize = FRAME_HEAD_BYTES + super::CHECKSUM_BYTES;
const SIDECAR_FRAME_BYTES: usize = FRAME_HEAD_BYTES + crate::BlobSidecar::BYTES;

/// Number of parts of a record with so many blobs.
#[must_use]
pub const fn part_count(blobs: usize) -> usize {
    1 + blobs.div_ceil(PART_SIDECARS)
}

/// Which sidecars of a record a part has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SidecarPart {
    first_index: usize,
    count: usize,
    ends_record: bool,
}

impl SidecarPart {
    /// The part that has the sidecar of `index`, in a record of so many `blobs`; `None` if the record has no such
    /// sidecar.
    #[must_use]
    pub fn of(index: u64, blobs: usize) -> Option<Self> {
        let index = usize::try_from(index).ok().filter(|index| *index < blobs && blobs <= MAX_BLOBS_PER_BLOCK)?;
        let first_index = index - index % PART_SIDECARS;
        let left = blobs.saturating_sub(first_index);
        Some(Self { first_index, count: left.min(PART_SIDECARS), ends_record: left <= PART_SIDECARS })
    }

    /// All sidecar parts of a record of so many `blobs`, in order.
    pub fn all(blobs: usize) -> impl Iterator<Item = Self> + Clone {
        (0..blobs as u64).step_by(PART_SIDECARS).map_while(move |index| Self::of(index, blobs))
    }

    /// Indices of its sidecars.
    #[must_use]
    pub fn indices(self) -> Range<u64> {
        self.first_index as u64..(self.first_index + self.count) as u64
    }

    /// Index of its first sidecar.
    #[must_use]
    pub fn first_index(self) -> u64 {
        self.first_index as u64
    }

    /// Number of its sidecars, from 1 to [`PART_SIDECARS`].
    #[must_use]
    pub fn count(self) -> usize {
        self.count
    }

    /// Whether it is the last part of its record.
    #[must_use]
    pub fn ends_record(self) -> bool {
        self.ends_record
    }

    /// Position among the parts of its record, from 1: the payload part is 0.
    pub(super) fn position(self) -> usize {
        1 + self.first_index / PART_SIDECARS
    }

    /// Bytes before compression.
    #[must_use]
    pub fn bytes(self) -> usize {
        self.count * SIDECAR_FRAME_BYTES + if self.ends_record { HEIGHT_END_FRAME_BYTES } else { 0 }
    }
}

/// Bytes of a record behind its payload, before compression.
pub(super) const fn bytes_after_payload(blobs: usize) -> usize {
    blobs * SIDECAR_FRAME_BYTES + HEIGHT_END_FRAME_BYTES
}

/// Bytes before compression that the payload part of a record can have, whose sets and value take so many each, in a
/// record of so many `blobs`.
pub(super) fn payload_part_bytes(items: impl IntoIterator<Item = usize>, blobs: usize) -> RangeInclusive<usize> {
    let items: usize = items.into_iter().map(|item| FRAME_HEAD_BYTES + item).sum();
    let end = if blobs == 0 { HEIGHT_END_FRAME_BYTES } else { 0 };
    let around = HEIGHT_FRAME_BYTES + items + FRAME_HEAD_BYTES + end;
    let payload = FrameKind::Payload.bounds();
    around + payload.min()..=around + payload.max()
}

/// Bytes that a part can have as it is stored, which has `bytes` before compression.
///
/// zstd stores what it cannot compress in blocks of up to 128 KiB with three bytes each; the bound leaves writers with
/// smaller blocks some room.
pub(super) fn stored_bytes(compression: Compression, bytes: &RangeInclusive<usize>) -> RangeInclusive<usize> {
    match compression {
        Compression::None => bytes.clone(),
        Compression::Zstd => 1..=bytes.end() + bytes.end() / 128 + 1024,
    }
}
