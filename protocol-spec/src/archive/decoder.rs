//! Reading a body, frame by frame.

use xxhash_rust::xxh3::Xxh3Default;

use super::{
    ArchiveError, ArchiveFault, FrameKind, Header, MAX_RECORD_SETS,
    frame::{END_BYTES, FRAME_HEAD_BYTES},
    header::Fields,
};
use crate::{BlobSidecar, Bytes32, DecidedValue, Height, PayloadEnvelope, ValidatorSet, decode};

/// What a frame brings. Items are decoded, in place and in order; none of them is known to be true.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The record of this height begins.
    Height(Height),
    /// A validator set that becomes known with the height.
    ValidatorSet(ValidatorSet),
    /// The height's value with its certificate.
    Decided(Box<DecidedValue>),
    /// The height's payload.
    Payload(PayloadEnvelope),
    /// The height's next blob.
    Sidecar(BlobSidecar),
    /// The record of this height is complete and its checksum matches.
    HeightEnd(Height),
    /// The archive is complete. Nothing may follow.
    End(Trailer),
}

/// What ends an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trailer {
    /// Heights in the archive.
    pub heights: u64,
    /// Value id that the certificate of the last height names.
    pub last_value_id: Bytes32,
}

/// Reads the body of an archive, after decompression. It is of no use after an error.
#[derive(Clone)]
pub struct Decoder {
    first: Height,
    last: Height,
    /// Height that is due, or whose record is being read.
    height: Height,
    due: Due,
    piece: Piece,
    /// Bytes of the record that are still to come, by what it says.
    record_left: u64,
    checksum: Xxh3Default,
    last_value_id: Bytes32,
    offset: u64,
}

/// What may stand next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    /// A record, or the end.
    Record,
    /// A set, after so many others, or the decided value.
    Value {
        sets: u8,
    },
    /// The payload, before so many blobs.
    Payload {
        blobs: u64,
    },
    /// The blob `index`, or after the last one the checksum.
    Sidecar {
        index: u64,
        blobs: u64,
    },
    Nothing,
}

/// What is wanted next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece {
    Head,
    Content(FrameKind, usize),
    Nothing,
}

impl Decoder {
    /// A decoder at the first byte behind `header`.
    #[must_use]
    pub fn new(header: &Header) -> Self {
        Self {
            first: header.first(),
            last: header.last(),
            height: header.first(),
            due: Due::Record,
            piece: Piece::Head,
            record_left: 0,
            checksum: Xxh3Default::new(),
            last_value_id: Bytes32::ZERO,
            offset: 0,
        }
    }

    /// Bytes that are wanted next; 0 when the archive is complete or known to be broken.
    #[must_use]
    pub fn wants(&self) -> usize {
        match self.piece {
            Piece::Head => FRAME_HEAD_BYTES,
            Piece::Content(_, length) => length,
            Piece::Nothing => 0,
        }
    }

    /// Whether the end has been read.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.due == Due::Nothing
    }

    /// Takes the bytes that are wanted, or fewer where the archive ends. After the end, whatever follows it.
    ///
    /// # Errors
    /// [`ArchiveError`] for the first thing that is wrong.
    pub fn accept(&mut self, bytes: &[u8]) -> Result<Option<Event>, ArchiveError> {
        let height = self.record_height();
        match self.step(bytes) {
            Ok(event) => {
                self.offset = self.offset.saturating_add(bytes.len() as u64);
                Ok(event)
            }
            Err(fault) => {
                self.piece = Piece::Nothing;
                Err(ArchiveError { offset: self.offset, height, fault })
            }
        }
    }

    /// Bytes of the body that were taken so far.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Height of the record that is being read, `None` between records.
    #[must_use]
    pub fn record_height(&self) -> Option<Height> {
        match self.due {
            Due::Record | Due::Nothing => None,
            Due::Value { .. } | Due::Payload { .. } | Due::Sidecar { .. } => Some(self.height),
        }
    }

    fn step(&mut self, bytes: &[u8]) -> Result<Option<Event>, ArchiveFault> {
        if self.is_complete() {
            return if bytes.is_empty() { Ok(None) } else { Err(ArchiveFault::AfterEnd) };
        }
        match self.piece {
            Piece::Head => {
                self.piece = self.head(Fields(bytes), bytes)?;
                Ok(None)
            }
            Piece::Content(_, length) if length != bytes.len() => Err(ArchiveFault::Truncated),
            Piece::Content(kind, _) => {
                self.piece = Piece::Head;
                self.content(kind, bytes).map(Some)
            }
            Piece::Nothing => Err(ArchiveFault::Truncated),
        }
    }

    fn head(&mut self, mut fields: Fields<'_>, bytes: &[u8]) -> Result<Piece, ArchiveFault> {
        let [found] = fields.take()?;
        let length = u32::from_le_bytes(fields.take()?);
        let kind = self.admitted(found)?;
        let size = kind.bounds().check(u64::from(length)).map_err(|_| ArchiveFault::Length { kind, length })?;
        if self.due == Due::Record {
            self.checksum.reset();
        } else {
            let taken = (FRAME_HEAD_BYTES as u64).saturating_add(u64::from(length));
            self.record_left = self.record_left.checked_sub(taken).ok_or(ArchiveFault::RecordLength)?;
        }
        self.checksum.update(bytes);
        Ok(Piece::Content(kind, size))
    }

    /// The kind `found`, if it may stand here.
    fn admitted(&self, found: u8) -> Result<FrameKind, ArchiveFault> {
        let (due, is_due): (_, &[FrameKind]) = match self.due {
            Due::Record if self.height <= self.last => ("a height", &[FrameKind::Height]),
            Due::Record => ("the end of the archive", &[FrameKind::End]),
            Due::Value { sets } if sets < MAX_RECORD_SETS => {
                ("a validator set or a decided value", &[FrameKind::ValidatorSet, FrameKind::DecidedValue])
            }
            Due::Value { .. } => ("a decided value", &[FrameKind::DecidedValue]),
            Due::Payload { .. } => ("a payload", &[FrameKind::Payload]),
            Due::Sidecar { index, blobs } if index < blobs => ("a sidecar", &[FrameKind::Sidecar]),
            Due::Sidecar { .. } => ("the end of the height", &[FrameKind::HeightEnd]),
            Due::Nothing => ("nothing", &[]),
        };
        let kind = FrameKind::from_byte(found).filter(|kind| is_due.contains(kind));
        kind.ok_or(ArchiveFault::Frame { found, due })
    }

    fn content(&mut self, kind: FrameKind, bytes: &[u8]) -> Result<Event, ArchiveFault> {
        match kind {
            FrameKind::HeightEnd => return self.height_end(bytes),
            FrameKind::End => return self.end(bytes),
            FrameKind::Height
            | FrameKind::ValidatorSet
            | FrameKind::DecidedValue
            | FrameKind::Payload
            | FrameKind::Sidecar => self.checksum.update(bytes),
        }
        match (kind, self.due) {
            (FrameKind::Height, _) => self.height(bytes),
            (FrameKind::ValidatorSet, Due::Value { sets }) => {
                self.due = Due::Value { sets: sets.saturating_add(1) };
                Ok(Event::ValidatorSet(decode(bytes)?))
            }
            (FrameKind::DecidedValue, _) => self.decided(bytes),
            (FrameKind::Payload, Due::Payload { blobs }) => self.payload(bytes, blobs),
            (FrameKind::Sidecar, Due::Sidecar { index, blobs }) => self.sidecar(bytes, index, blobs),
            // `admitted` lets no other pair through.
            (kind, _) => Err(ArchiveFault::Frame { found: kind.byte(), due: "another frame" }),
        }
    }

    fn height(&mut self, bytes: &[u8]) -> Result<Event, ArchiveFault> {
        let mut fields = Fields(bytes);
        let found = u64::from_le_bytes(fields.take()?);
        self.at_due_height(FrameKind::Height, found)?;
        self.record_left = u64::from_le_bytes(fields.take()?);
        self.due = Due::Value { sets: 0 };
        Ok(Event::Height(found))
    }

    fn decided(&mut self, bytes: &[u8]) -> Result<Event, ArchiveFault> {
        let decided: DecidedValue = decode(bytes)?;
        self.at_due_height(FrameKind::DecidedValue, decided.value.height)?;
        self.last_value_id = decided.certificate.value_id;
        self.due = Due::Payload { blobs: decided.value.blob_count() as u64 };
        Ok(Event::Decided(Box::new(decided)))
    }

    fn payload(&mut self, bytes: &[u8], blobs: u64) -> Result<Event, ArchiveFault> {
        let envelope: PayloadEnvelope = decode(bytes)?;
        self.at_due_height(FrameKind::Payload, envelope.height)?;
        self.due = Due::Sidecar { index: 0, blobs };
        Ok(Event::Payload(envelope))
    }

    fn sidecar(&mut self, bytes: &[u8], index: u64, blobs: u64) -> Result<Event, ArchiveFault> {
        let sidecar: BlobSidecar = decode(bytes)?;
        self.at_due_height(FrameKind::Sidecar, sidecar.height)?;
        if sidecar.index != index {
            return Err(ArchiveFault::Index { found: sidecar.index, due: index });
        }
        self.due = Due::Sidecar { index: index.saturating_add(1), blobs };
        Ok(Event::Sidecar(sidecar))
    }

    fn height_end(&mut self, bytes: &[u8]) -> Result<Event, ArchiveFault> {
        if self.checksum.digest().to_le_bytes() != *bytes {
            return Err(ArchiveFault::Checksum);
        }
        if self.record_left != 0 {
            return Err(ArchiveFault::RecordLength);
        }
        let height = self.height;
        self.height = height.saturating_add(1);
        self.due = Due::Record;
        Ok(Event::HeightEnd(height))
    }

    fn end(&mut self, bytes: &[u8]) -> Result<Event, ArchiveFault> {
        let (stated, checksum) =
            bytes.split_at_checked(END_BYTES - super::CHECKSUM_BYTES).ok_or(ArchiveFault::Truncated)?;
        self.checksum.update(stated);
        if self.checksum.digest().to_le_bytes() != *checksum {
            return Err(ArchiveFault::Checksum);
        }
        let mut fields = Fields(stated);
        let trailer =
            Trailer { heights: u64::from_le_bytes(fields.take()?), last_value_id: Bytes32::from(fields.take()?) };
        let read = Trailer { heights: self.height.saturating_sub(self.first), last_value_id: self.last_value_id };
        if trailer != read {
            return Err(ArchiveFault::Trailer);
        }
        self.due = Due::Nothing;
        self.piece = Piece::Nothing;
        Ok(Event::End(trailer))
    }

    fn at_due_height(&self, kind: FrameKind, found: Height) -> Result<(), ArchiveFault> {
        if found == self.height { Ok(()) } else { Err(ArchiveFault::Height { kind, found, due: self.height }) }
    }
}
