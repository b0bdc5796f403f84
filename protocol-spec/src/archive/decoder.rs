//! Reading a body, frame by frame.

use super::{
    ArchiveError, ArchiveFault, FrameKind, Header, MAX_RECORD_SETS, SidecarPart,
    fields::Fields,
    frame::{END_BYTES, FRAME_HEAD_BYTES},
    part::bytes_after_payload,
    progress::Progress,
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

/// Reads the body of an archive, or one part of a record, after decompression. It is of no use after an error.
#[derive(Clone)]
pub struct Decoder {
    scope: Scope,
    progress: Progress,
    due: Due,
    piece: Piece,
    /// Bytes of the record that are still to come, by what it says; of a sidecar part, by what it is.
    record_left: u64,
    offset: u64,
}

/// What is read, and so where it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    Body,
    /// Up to the payload, or to the end of a record that has no blobs.
    PayloadPart,
    /// From a sidecar on, without what the record's checksum is over before it.
    SidecarPart(SidecarPart),
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
        blobs: usize,
    },
    /// The blob `index`, or at `end` the checksum.
    Sidecar {
        index: u64,
        end: u64,
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
        Self::at(Scope::Body, Progress::new(header), Due::Record)
    }

    /// A decoder for the payload part of the record of `height`, alone.
    ///
    /// A record without blobs ends with it, by an [`Event::HeightEnd`] and a checksum that matches.
    #[must_use]
    pub fn of_payload_part(height: Height) -> Self {
        Self::at(Scope::PayloadPart, Progress::between(height, height), Due::Record)
    }

    /// A decoder for one sidecar part of the record of `height`, alone.
    ///
    /// A checksum in it is over more than the part and is not compared.
    #[must_use]
    pub fn of_sidecar_part(height: Height, part: SidecarPart) -> Self {
        let index = part.first_index();
        let due = Due::Sidecar { index, end: index.saturating_add(part.count() as u64) };
        let record_left = part.bytes() as u64;
        Self { record_left, ..Self::at(Scope::SidecarPart(part), Progress::between(height, height), due) }
    }

    fn at(scope: Scope, progress: Progress, due: Due) -> Self {
        Self { scope, progress, due, piece: Piece::Head, record_left: 0, offset: 0 }
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

    /// Whether the end of the archive, or of the part, has been read.
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
            Due::Value { .. } | Due::Payload { .. } | Due::Sidecar { .. } => Some(self.progress.height()),
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
            self.progress.checksum.reset();
        } else {
            let taken = (FRAME_HEAD_BYTES as u64).saturating_add(u64::from(length));
            self.record_left = self.record_left.checked_sub(taken).ok_or(ArchiveFault::RecordLength)?;
        }
        // From here on all lengths are fixed.
        if let Due::Payload { blobs } = self.due
            && self.record_left != bytes_after_payload(blobs) as u64
        {
            return Err(ArchiveFault::RecordLength);
        }
        self.progress.checksum.update(bytes);
        Ok(Piece::Content(kind, size))
    }

    /// The kind `found`, if it may stand here.
    fn admitted(&self, found: u8) -> Result<FrameKind, ArchiveFault> {
        let (due, is_due): (_, &[FrameKind]) = match self.due {
            Due::Record if self.progress.has_more() => ("a height", &[FrameKind::Height]),
            Due::Record => ("the end of the archive", &[FrameKind::End]),
            Due::Value { sets } if sets < MAX_RECORD_SETS => {
                ("a validator set or a decided value", &[FrameKind::ValidatorSet, FrameKind::DecidedValue])
            }
            Due::Value { .. } => ("a decided value", &[FrameKind::DecidedValue]),
            Due::Payload { .. } => ("a payload", &[FrameKind::Payload]),
            Due::Sidecar { index, end } if index < end => ("a sidecar", &[FrameKind::Sidecar]),
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
            | FrameKind::Sidecar => self.progress.checksum.update(bytes),
        }
        match (kind, self.due) {
            (FrameKind::Height, _) => self.height(bytes),
            (FrameKind::ValidatorSet, Due::Value { sets }) => {
                self.due = Due::Value { sets: sets.saturating_add(1) };
                Ok(Event::ValidatorSet(decode(bytes)?))
            }
            (FrameKind::DecidedValue, _) => self.decided(bytes),
            (FrameKind::Payload, Due::Payload { blobs }) => self.payload(bytes, blobs),
            (FrameKind::Sidecar, Due::Sidecar { index, end }) => self.sidecar(bytes, index, end),
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
        self.progress.last_value_id = decided.certificate.value_id;
        self.due = Due::Payload { blobs: decided.value.blob_count() };
        Ok(Event::Decided(Box::new(decided)))
    }

    fn payload(&mut self, bytes: &[u8], blobs: usize) -> Result<Event, ArchiveFault> {
        let envelope: PayloadEnvelope = decode(bytes)?;
        self.at_due_height(FrameKind::Payload, envelope.height)?;
        self.due = Due::Sidecar { index: 0, end: blobs as u64 };
        if self.scope == Scope::PayloadPart && blobs > 0 {
            self.complete();
        }
        Ok(Event::Payload(envelope))
    }

    fn sidecar(&mut self, bytes: &[u8], index: u64, end: u64) -> Result<Event, ArchiveFault> {
        let sidecar: BlobSidecar = decode(bytes)?;
        self.at_due_height(FrameKind::Sidecar, sidecar.height)?;
        if sidecar.index != index {
            return Err(ArchiveFault::Index { found: sidecar.index, due: index });
        }
        let next = index.saturating_add(1);
        self.due = Due::Sidecar { index: next, end };
        if next == end && matches!(self.scope, Scope::SidecarPart(part) if !part.ends_record()) {
            self.complete();
        }
        Ok(Event::Sidecar(sidecar))
    }

    fn height_end(&mut self, bytes: &[u8]) -> Result<Event, ArchiveFault> {
        let is_whole = !matches!(self.scope, Scope::SidecarPart(_));
        if is_whole && self.progress.checksum.digest().to_le_bytes() != *bytes {
            return Err(ArchiveFault::Checksum);
        }
        if self.record_left != 0 {
            return Err(ArchiveFault::RecordLength);
        }
        let height = self.progress.height();
        self.progress.end_record();
        match self.scope {
            Scope::Body => self.due = Due::Record,
            Scope::PayloadPart | Scope::SidecarPart(_) => self.complete(),
        }
        Ok(Event::HeightEnd(height))
    }

    fn end(&mut self, bytes: &[u8]) -> Result<Event, ArchiveFault> {
        let (stated, checksum) =
            bytes.split_at_checked(END_BYTES - super::CHECKSUM_BYTES).ok_or(ArchiveFault::Truncated)?;
        self.progress.checksum.update(stated);
        if self.progress.checksum.digest().to_le_bytes() != *checksum {
            return Err(ArchiveFault::Checksum);
        }
        let mut fields = Fields(stated);
        let trailer =
            Trailer { heights: u64::from_le_bytes(fields.take()?), last_value_id: Bytes32::from(fields.take()?) };
        if trailer != self.progress.trailer() {
            return Err(ArchiveFault::Trailer);
        }
        self.complete();
        Ok(Event::End(trailer))
    }

    fn complete(&mut self) {
        self.due = Due::Nothing;
        self.piece = Piece::Nothing;
    }

    fn at_due_height(&self, kind: FrameKind, found: Height) -> Result<(), ArchiveFault> {
        let due = self.progress.height();
        if found == due { Ok(()) } else { Err(ArchiveFault::Height { kind, found, due }) }
    }
}
