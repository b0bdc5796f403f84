//! Indexes: where in an archive each payload and each blob is.
//!
//! An index is a small object beside an archive that is kept where ranges of bytes can be fetched. It has the sets and
//! the values of all records, and for each part of a record how many bytes it takes as it is stored: so a reader that
//! has the index can check what was decided, and fetch what it lacks and no more. `spec/archive.md` is the normative
//! text. An index proves nothing, as little as the archive does.
//!
//! ```text
//! index  ::= head | record* | checksum          one record per height, ascending, none left out
//! record ::= set{0..2} | decided value | stored bytes of each part
//! ```

mod codec;
mod fault;

use std::ops::Range;

pub use self::fault::{IndexError, IndexFault};
use super::{
    Compression, Header, MAX_RECORD_SETS, SidecarPart, VERSION,
    frame::FRAME_HEAD_BYTES,
    header::{MAX_GENESIS_BYTES, MIN_GENESIS_BYTES, START_BYTES, is_range},
    part::{part_count, payload_part_bytes, stored_bytes},
};
use crate::{Bytes32, DecidedValue, Height, MAX_BLOBS_PER_BLOCK, MAX_VALIDATORS, ValidatorSet};

/// The first bytes of an index.
pub const INDEX_MAGIC: [u8; 8] = [0x89, b'L', b'A', b'P', b'I', b'X', 0x0d, 0x0a];
/// The version of indexes that is written and read here, of archives of version [`VERSION`].
pub const INDEX_VERSION: u16 = 1;
/// Most heights that an archive with an index has: what bounds an index.
pub const MAX_INDEX_HEIGHTS: u64 = 64;
/// Longest index, in bytes: heights of the largest sets, values and numbers of blobs.
pub const MAX_INDEX_BYTES: usize = HEAD_BYTES + MAX_HEIGHTS * MAX_RECORD_BYTES + super::CHECKSUM_BYTES;

const _: () = assert!(VERSION == 1, "another version of archives needs another version of indexes");

/// Bytes before the first record.
const HEAD_BYTES: usize = 8 + 2 + 1 + 1 + 8 + 8 + 32 + 8;
/// Bytes of a part's stored length.
const PART_LENGTH_BYTES: usize = 4;
#[expect(clippy::cast_possible_truncation, reason = "a small constant")]
const MAX_HEIGHTS: usize = MAX_INDEX_HEIGHTS as usize;
const MAX_RECORD_BYTES: usize = MAX_RECORD_SETS as usize * (FRAME_HEAD_BYTES + set_bytes(MAX_VALIDATORS))
    + FRAME_HEAD_BYTES
    + DecidedValue::encoded_len_of(MAX_BLOBS_PER_BLOCK, MAX_VALIDATORS)
    + PART_LENGTH_BYTES * part_count(MAX_BLOBS_PER_BLOCK);

/// Bytes of a set of so many members.
const fn set_bytes(members: usize) -> usize {
    4 + 40 * members
}

/// Where an archive has what. Whole: it has a record for each height of the archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Index {
    compression: Compression,
    first: Height,
    last: Height,
    genesis_id: Bytes32,
    /// Offset of the first part.
    start: u64,
    records: Vec<IndexRecord>,
}

/// What an index has of one height. Claims, like everything in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexRecord {
    sets: Vec<ValidatorSet>,
    decided: DecidedValue,
    /// Offset of the first part in the archive.
    offset: u64,
    /// Bytes of each part as it is stored.
    parts: Vec<u32>,
}

impl Index {
    /// How the parts are compressed: each by itself.
    #[must_use]
    pub fn compression(&self) -> Compression {
        self.compression
    }

    /// The lowest height of the archive, at least 1.
    #[must_use]
    pub fn first(&self) -> Height {
        self.first
    }

    /// The highest height of the archive, less than [`MAX_INDEX_HEIGHTS`] above the first.
    #[must_use]
    pub fn last(&self) -> Height {
        self.last
    }

    /// Id of the chain.
    #[must_use]
    pub fn genesis_id(&self) -> &Bytes32 {
        &self.genesis_id
    }

    /// One record for each height, ascending.
    #[must_use]
    pub fn records(&self) -> &[IndexRecord] {
        &self.records
    }

    /// The record of `height`, if the archive has it.
    #[must_use]
    pub fn record(&self, height: Height) -> Option<&IndexRecord> {
        self.records.get(usize::try_from(height.checked_sub(self.first)?).ok()?)
    }

    /// Where the payload part of `height` is, in bytes of the archive.
    #[must_use]
    pub fn payload_part(&self, height: Height) -> Option<Range<u64>> {
        self.record(height).map(IndexRecord::payload_part)
    }

    /// The part that has the sidecar of `index` at `height`, and where it is, in bytes of the archive.
    #[must_use]
    pub fn sidecar_part(&self, height: Height, index: u64) -> Option<(Range<u64>, SidecarPart)> {
        self.record(height)?.sidecar_part(index)
    }
}

impl IndexRecord {
    /// The height.
    #[must_use]
    pub fn height(&self) -> Height {
        self.decided.value.height
    }

    /// The validator sets that become known with the height, at most [`MAX_RECORD_SETS`].
    #[must_use]
    pub fn sets(&self) -> &[ValidatorSet] {
        &self.sets
    }

    /// The value with its certificate, unverified.
    #[must_use]
    pub fn decided(&self) -> &DecidedValue {
        &self.decided
    }

    /// Where the payload part is, in bytes of the archive.
    #[must_use]
    pub fn payload_part(&self) -> Range<u64> {
        self.part(0)
    }

    /// The part that has the sidecar of `index`, and where it is, in bytes of the archive.
    #[must_use]
    pub fn sidecar_part(&self, index: u64) -> Option<(Range<u64>, SidecarPart)> {
        let part = SidecarPart::of(index, self.decided.value.blob_count())?;
        Some((self.part(part.position()), part))
    }

    /// All sidecar parts, in order.
    pub fn sidecar_parts(&self) -> impl Iterator<Item = (Range<u64>, SidecarPart)> + '_ {
        SidecarPart::all(self.decided.value.blob_count()).map(|part| (self.part(part.position()), part))
    }

    /// Where the part at `position` is.
    fn part(&self, position: usize) -> Range<u64> {
        let start = self.parts.iter().take(position).fold(self.offset, advance);
        start..self.parts.get(position).map_or(start, |length| advance(start, length))
    }

    /// Offset of what follows the record.
    fn end(&self) -> u64 {
        self.parts.iter().fold(self.offset, advance)
    }
}

fn advance(offset: u64, length: &u32) -> u64 {
    offset.saturating_add(u64::from(*length))
}

/// Makes an index while its archive is written.
#[derive(Clone, Debug)]
pub struct IndexBuilder(Index);

impl IndexBuilder {
    /// For the archive behind `header`.
    ///
    /// # Errors
    /// [`IndexFault::Heights`] if it has more than [`MAX_INDEX_HEIGHTS`].
    pub fn new(header: &Header) -> Result<Self, IndexFault> {
        let start = header.encode().len() as u64;
        Self::of(header.compression(), header.first(), header.last(), *header.genesis_id(), start)
    }

    fn of(
        compression: Compression,
        first: Height,
        last: Height,
        genesis_id: Bytes32,
        start: u64,
    ) -> Result<Self, IndexFault> {
        if !is_range(first, last) {
            return Err(IndexFault::Range { first, last });
        }
        let heights = last.saturating_sub(first).saturating_add(1);
        if heights > MAX_INDEX_HEIGHTS {
            return Err(IndexFault::Heights(heights));
        }
        let around = START_BYTES + super::CHECKSUM_BYTES;
        let starts = (around + MIN_GENESIS_BYTES) as u64..=(around + MAX_GENESIS_BYTES) as u64;
        if !starts.contains(&start) {
            return Err(IndexFault::Start(start));
        }
        Ok(Self(Index { compression, first, last, genesis_id, start, records: Vec::new() }))
    }

    /// Adds the record of the next height; `parts` are the bytes that its parts take as they are stored, the payload
    /// part first, then one for each [`SidecarPart`].
    ///
    /// # Errors
    /// [`IndexFault`] for what cannot be; nothing is added then.
    pub fn record(&mut self, sets: Vec<ValidatorSet>, decided: DecidedValue, parts: &[u64]) -> Result<(), IndexFault> {
        let due = self.due().ok_or(IndexFault::Behind(self.0.last))?;
        let found = decided.value.height;
        if found != due {
            return Err(IndexFault::Height { found, due });
        }
        if sets.len() > usize::from(MAX_RECORD_SETS) {
            return Err(IndexFault::Sets(sets.len()));
        }
        let parts = check_parts(self.0.compression, &sets, &decided, parts)?;
        self.0.records.push(IndexRecord { sets, decided, offset: self.end(), parts });
        Ok(())
    }

    /// The index, of the whole archive.
    ///
    /// # Errors
    /// [`IndexFault::Missing`] if heights are.
    pub fn finish(self) -> Result<Index, IndexFault> {
        match self.due() {
            None => Ok(self.0),
            Some(height) => Err(IndexFault::Missing(height)),
        }
    }

    /// The height that is to be added next.
    fn due(&self) -> Option<Height> {
        let due = self.0.first.saturating_add(self.0.records.len() as u64);
        (due <= self.0.last).then_some(due)
    }

    /// Offset of what follows the records so far.
    fn end(&self) -> u64 {
        self.0.records.last().map_or(self.0.start, IndexRecord::end)
    }
}

/// The bytes of the parts of a record, if the parts can take them.
fn check_parts(
    compression: Compression,
    sets: &[ValidatorSet],
    decided: &DecidedValue,
    parts: &[u64],
) -> Result<Vec<u32>, IndexFault> {
    let blobs = decided.value.blob_count();
    let (due, found) = (part_count(blobs), parts.len());
    if found != due {
        return Err(IndexFault::Parts { found, due });
    }
    let items = sets.iter().map(|set| set_bytes(set.validators.len())).chain([decided.encoded_len()]);
    let payload_part = payload_part_bytes(items, blobs);
    let sidecar_parts = SidecarPart::all(blobs).map(|part| part.bytes()..=part.bytes());
    let bounds = [payload_part].into_iter().chain(sidecar_parts).map(|bytes| stored_bytes(compression, &bytes));
    let checked = bounds.zip(parts).enumerate().map(|(part, (bounds, length))| {
        let is_possible = usize::try_from(*length).is_ok_and(|length| bounds.contains(&length));
        let stored = u32::try_from(*length).ok().filter(|_| is_possible);
        stored.ok_or(IndexFault::PartLength { part, length: *length })
    });
    checked.collect()
}

#[cfg(test)]
mod tests;
