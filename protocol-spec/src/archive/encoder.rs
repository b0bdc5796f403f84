//! Writing a body: record by record, item by item.

use super::{
    CHECKSUM_BYTES, FrameKind, Header, MAX_RECORD_SETS,
    frame::{FRAME_HEAD_BYTES, HEIGHT_BYTES, head},
    part::bytes_after_payload,
    progress::Progress,
};
use crate::{DecidedValue, Height, ValidatorSet, encode};

/// A call that does not fit what was written before: the caller's mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// Something else must be written now.
    #[error("a {0} cannot be written here")]
    Order(FrameKind),
    /// Another height is due.
    #[error("height {found} cannot be written here, due is {due}")]
    Height {
        /// Height given.
        found: Height,
        /// Height that is due.
        due: Height,
    },
    /// More sets than a record can hold.
    #[error("{0} validator sets in one record, at most {MAX_RECORD_SETS} can be")]
    Sets(usize),
    /// Shorter or longer than announced, or than its type can be.
    #[error("a {kind} of {length} bytes cannot be written here")]
    Length {
        /// What was given.
        kind: FrameKind,
        /// Its bytes.
        length: usize,
    },
}

/// Writes the body of an archive, before compression.
///
/// For each height: [`Encoder::height`], [`Encoder::payload`], then [`Encoder::sidecar`] for each blob in order; the last
/// of them ends the record. [`Encoder::finish`] ends the archive. What each call appends to `out` is to be written and
/// `out` to be cleared.
#[derive(Clone)]
pub struct Encoder {
    progress: Progress,
    due: Due,
}

/// What must be written next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    Height,
    Payload { bytes: usize, blobs: usize },
    Sidecars(usize),
    Nothing,
}

impl Encoder {
    /// An encoder for the body behind `header`.
    #[must_use]
    pub fn new(header: &Header) -> Self {
        Self { progress: Progress::new(header), due: Due::Height }
    }

    /// Begins the record of the next height: `sets` become known with it, and its envelope takes `payload_bytes`.
    ///
    /// # Errors
    /// [`EncodeError`]; nothing is written then.
    pub fn height(
        &mut self,
        sets: &[ValidatorSet],
        decided: &DecidedValue,
        payload_bytes: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        let found = decided.value.height;
        if self.due != Due::Height || !self.progress.has_more() {
            return Err(EncodeError::Order(FrameKind::Height));
        }
        let due = self.progress.height();
        if found != due {
            return Err(EncodeError::Height { found, due });
        }
        if sets.len() > usize::from(MAX_RECORD_SETS) {
            return Err(EncodeError::Sets(sets.len()));
        }
        check_length(FrameKind::Payload, payload_bytes)?;
        let sets: Vec<Vec<u8>> = sets.iter().map(encode).collect();
        let decided_bytes = encode(decided);
        let blobs = decided.value.blob_count();
        let items = sets.iter().map(Vec::len).chain([decided_bytes.len(), payload_bytes]);
        let length: usize = items.map(|item| FRAME_HEAD_BYTES + item).sum::<usize>() + bytes_after_payload(blobs);
        let mut start = [0; HEIGHT_BYTES];
        start[..8].copy_from_slice(&found.to_le_bytes());
        start[8..].copy_from_slice(&(length as u64).to_le_bytes());
        self.progress.checksum.reset();
        self.frame(FrameKind::Height, &[&start], out);
        for set in &sets {
            self.frame(FrameKind::ValidatorSet, &[set], out);
        }
        self.frame(FrameKind::DecidedValue, &[&decided_bytes], out);
        self.progress.last_value_id = decided.certificate.value_id;
        self.due = Due::Payload { bytes: payload_bytes, blobs };
        Ok(())
    }

    /// Writes the SSZ payload envelope, given in pieces.
    ///
    /// # Errors
    /// [`EncodeError`]; nothing is written then.
    pub fn payload(&mut self, pieces: &[&[u8]], out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let length = total(pieces);
        let Due::Payload { bytes, blobs } = self.due else { return Err(EncodeError::Order(FrameKind::Payload)) };
        if length != bytes {
            return Err(EncodeError::Length { kind: FrameKind::Payload, length });
        }
        self.frame(FrameKind::Payload, pieces, out);
        self.after_item(blobs, out);
        Ok(())
    }

    /// Writes the next SSZ blob sidecar, given in pieces.
    ///
    /// # Errors
    /// [`EncodeError`]; nothing is written then.
    pub fn sidecar(&mut self, pieces: &[&[u8]], out: &mut Vec<u8>) -> Result<(), EncodeError> {
        check_length(FrameKind::Sidecar, total(pieces))?;
        let Due::Sidecars(blobs) = self.due else { return Err(EncodeError::Order(FrameKind::Sidecar)) };
        self.frame(FrameKind::Sidecar, pieces, out);
        self.after_item(blobs.saturating_sub(1), out);
        Ok(())
    }

    /// Ends the archive after its last height.
    ///
    /// # Errors
    /// [`EncodeError::Order`] if heights or items are missing.
    pub fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        if self.due != Due::Height || self.progress.has_more() {
            return Err(EncodeError::Order(FrameKind::End));
        }
        self.progress.checksum.reset();
        let trailer = self.progress.trailer();
        let start = out.len();
        head(FrameKind::End, FrameKind::End.bounds().max(), out);
        out.extend_from_slice(&trailer.heights.to_le_bytes());
        out.extend_from_slice(trailer.last_value_id.as_slice());
        self.append_checksum(start, out);
        self.due = Due::Nothing;
        Ok(())
    }

    fn after_item(&mut self, blobs: usize, out: &mut Vec<u8>) {
        if blobs > 0 {
            self.due = Due::Sidecars(blobs);
            return;
        }
        let start = out.len();
        head(FrameKind::HeightEnd, CHECKSUM_BYTES, out);
        self.append_checksum(start, out);
        self.progress.end_record();
        self.due = Due::Height;
    }

    fn frame(&mut self, kind: FrameKind, pieces: &[&[u8]], out: &mut Vec<u8>) {
        let start = out.len();
        head(kind, total(pieces), out);
        pieces.iter().for_each(|piece| out.extend_from_slice(piece));
        self.progress.checksum.update(out.get(start..).unwrap_or_default());
    }

    /// Appends the checksum of the record, of which the part from `start` on is not counted yet.
    fn append_checksum(&mut self, start: usize, out: &mut Vec<u8>) {
        self.progress.checksum.update(out.get(start..).unwrap_or_default());
        out.extend_from_slice(&self.progress.checksum.digest().to_le_bytes());
    }
}

fn total(pieces: &[&[u8]]) -> usize {
    pieces.iter().map(|piece| piece.len()).sum()
}

fn check_length(kind: FrameKind, length: usize) -> Result<(), EncodeError> {
    kind.bounds().check(length as u64).map(drop).map_err(|_| EncodeError::Length { kind, length })
}
