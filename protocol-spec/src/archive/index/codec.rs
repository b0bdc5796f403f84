//! The bytes of an index.

use xxhash_rust::xxh3::xxh3_64;

use super::{
    HEAD_BYTES, INDEX_MAGIC, INDEX_VERSION, Index, IndexBuilder, IndexError, IndexFault, MAX_INDEX_BYTES,
    PART_LENGTH_BYTES,
};
use crate::{
    Bytes32, DecidedValue, Height, ValidatorSet,
    archive::{CHECKSUM_BYTES, Compression, FrameKind, MAX_RECORD_SETS, fields::Fields, frame::head, part::part_count},
    decode, encode,
};

impl Index {
    /// The bytes of the index, at most [`MAX_INDEX_BYTES`].
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEAD_BYTES);
        out.extend_from_slice(&INDEX_MAGIC);
        out.extend_from_slice(&INDEX_VERSION.to_le_bytes());
        out.extend_from_slice(&[self.compression as u8, 0]);
        out.extend_from_slice(&self.first.to_le_bytes());
        out.extend_from_slice(&self.last.to_le_bytes());
        out.extend_from_slice(self.genesis_id.as_slice());
        out.extend_from_slice(&self.start.to_le_bytes());
        for record in &self.records {
            record.sets.iter().for_each(|set| frame(FrameKind::ValidatorSet, &encode(set), &mut out));
            frame(FrameKind::DecidedValue, &encode(&record.decided), &mut out);
            record.parts.iter().for_each(|length| out.extend_from_slice(&length.to_le_bytes()));
        }
        let checksum = xxh3_64(&out);
        out.extend_from_slice(&checksum.to_le_bytes());
        out
    }

    /// Reads an index.
    ///
    /// Takes memory in proportion to `bytes`, and nothing before lengths are checked.
    ///
    /// # Errors
    /// [`IndexError`] for the first thing that is wrong.
    pub fn decode(bytes: &[u8]) -> Result<Self, IndexError> {
        let outside = |fault| IndexError { offset: 0, height: None, fault };
        let content = unseal(bytes).map_err(outside)?;
        let mut fields = Fields(content);
        let offset = |fields: &Fields<'_>| content.len().saturating_sub(fields.0.len());
        let mut builder = read_head(&mut fields).map_err(outside)?;
        while let Some(height) = builder.due() {
            let offset = offset(&fields);
            let record = read_record(&mut fields, &mut builder);
            record.map_err(|fault| IndexError { offset, height: Some(height), fault })?;
        }
        if !fields.0.is_empty() {
            return Err(IndexError { offset: offset(&fields), height: None, fault: IndexFault::AfterEnd });
        }
        builder.finish().map_err(outside)
    }
}

fn frame(kind: FrameKind, content: &[u8], out: &mut Vec<u8>) {
    head(kind, content.len(), out);
    out.extend_from_slice(content);
}

/// What is before the checksum, which matches, of something that is an index of this version.
fn unseal(bytes: &[u8]) -> Result<&[u8], IndexFault> {
    if bytes.len() > MAX_INDEX_BYTES {
        return Err(IndexFault::TooLong(bytes.len()));
    }
    let known = bytes.len().min(INDEX_MAGIC.len());
    if bytes.is_empty() || bytes.get(..known) != INDEX_MAGIC.get(..known) {
        return Err(IndexFault::NotAnIndex);
    }
    let mut fields = Fields(bytes.get(known..).unwrap_or_default());
    let version = u16::from_le_bytes(fields.take()?);
    if version != INDEX_VERSION {
        return Err(IndexFault::Version(version));
    }
    let (content, checksum) = bytes.split_last_chunk::<CHECKSUM_BYTES>().ok_or(IndexFault::Truncated)?;
    if xxh3_64(content).to_le_bytes() != *checksum {
        return Err(IndexFault::Checksum);
    }
    Ok(content)
}

/// The head, as a builder that no record was given to.
fn read_head(fields: &mut Fields<'_>) -> Result<IndexBuilder, IndexFault> {
    fields.slice(INDEX_MAGIC.len() + size_of_val(&INDEX_VERSION))?;
    let [compression, reserved] = fields.take()?;
    let compression = Compression::from_byte(compression).ok_or(IndexFault::Compression(compression))?;
    if reserved != 0 {
        return Err(IndexFault::Reserved(reserved));
    }
    let (first, last) = (Height::from_le_bytes(fields.take()?), Height::from_le_bytes(fields.take()?));
    let genesis_id = Bytes32::from(fields.take()?);
    IndexBuilder::of(compression, first, last, genesis_id, u64::from_le_bytes(fields.take()?))
}

/// The next record, given to `builder`.
fn read_record(fields: &mut Fields<'_>, builder: &mut IndexBuilder) -> Result<(), IndexFault> {
    let mut sets: Vec<ValidatorSet> = Vec::new();
    let decided: DecidedValue = loop {
        let may_be_set = sets.len() < usize::from(MAX_RECORD_SETS);
        match read_frame(fields, may_be_set)? {
            (FrameKind::ValidatorSet, content) => sets.push(decode(content)?),
            (_, content) => break decode(content)?,
        }
    };
    let parts = fields.slice(part_count(decided.value.blob_count()) * PART_LENGTH_BYTES)?;
    let (parts, _) = parts.as_chunks::<PART_LENGTH_BYTES>();
    let parts: Vec<u64> = parts.iter().map(|length| u64::from(u32::from_le_bytes(*length))).collect();
    builder.record(sets, decided, &parts)
}

/// The next frame: of a value, or where it may be, of a set.
fn read_frame<'a>(fields: &mut Fields<'a>, may_be_set: bool) -> Result<(FrameKind, &'a [u8]), IndexFault> {
    let [found] = fields.take()?;
    let length = u32::from_le_bytes(fields.take()?);
    let kind = match FrameKind::from_byte(found) {
        Some(FrameKind::DecidedValue) => FrameKind::DecidedValue,
        Some(FrameKind::ValidatorSet) if may_be_set => FrameKind::ValidatorSet,
        _ if may_be_set => return Err(IndexFault::Frame { found, due: "a validator set or a decided value" }),
        _ => return Err(IndexFault::Frame { found, due: "a decided value" }),
    };
    let size = kind.bounds().check(u64::from(length)).map_err(|_| IndexFault::Length { kind, length })?;
    Ok((kind, fields.slice(size)?))
}
