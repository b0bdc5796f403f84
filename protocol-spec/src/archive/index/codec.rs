//! The bytes of an index.

use xxhash_rust::xxh3::xxh3_64;

use super::{
    FRAME_HEAD_BYTES, HEAD_BYTES, INDEX_MAGIC, INDEX_VERSION, Index, IndexBuilder, IndexError, IndexFault,
    MAX_INDEX_BYTES, PART_LENGTH_BYTES,
};
use crate::{
    Bytes32, DecidedValue, Height, ValidatorSet,
    archive::{CHECKSUM_BYTES, Compression, FrameKind, MAX_RECORD_SETS, part::part_count},
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
        let mut reader = Reader { content, rest: content };
        let mut builder = reader.head().map_err(outside)?;
        while let Some(height) = builder.due() {
            let offset = reader.offset();
            reader.record(&mut builder).map_err(|fault| IndexError { offset, height: Some(height), fault })?;
        }
        if !reader.rest.is_empty() {
            return Err(IndexError { offset: reader.offset(), height: None, fault: IndexFault::AfterEnd });
        }
        builder.finish().map_err(outside)
    }
}

fn frame(kind: FrameKind, content: &[u8], out: &mut Vec<u8>) {
    // The bounds of both kinds are far below 4 GiB.
    let length = u32::try_from(content.len()).unwrap_or(u32::MAX);
    out.push(kind.byte());
    out.extend_from_slice(&length.to_le_bytes());
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
    let mut fields = Reader { content: bytes, rest: bytes.get(known..).unwrap_or_default() };
    let version = u16::from_le_bytes(fields.array()?);
    if version != INDEX_VERSION {
        return Err(IndexFault::Version(version));
    }
    let (content, checksum) = bytes.split_last_chunk::<CHECKSUM_BYTES>().ok_or(IndexFault::Truncated)?;
    if xxh3_64(content).to_le_bytes() != *checksum {
        return Err(IndexFault::Checksum);
    }
    Ok(content)
}

/// Reads what is before the checksum.
struct Reader<'a> {
    content: &'a [u8],
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn offset(&self) -> usize {
        self.content.len().saturating_sub(self.rest.len())
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], IndexFault> {
        let (array, rest) = self.rest.split_first_chunk::<N>().ok_or(IndexFault::Truncated)?;
        self.rest = rest;
        Ok(*array)
    }

    fn slice(&mut self, length: usize) -> Result<&'a [u8], IndexFault> {
        let (slice, rest) = self.rest.split_at_checked(length).ok_or(IndexFault::Truncated)?;
        self.rest = rest;
        Ok(slice)
    }

    fn head(&mut self) -> Result<IndexBuilder, IndexFault> {
        self.slice(INDEX_MAGIC.len() + size_of_val(&INDEX_VERSION))?;
        let [compression, reserved] = self.array()?;
        let compression = Compression::from_byte(compression).ok_or(IndexFault::Compression(compression))?;
        if reserved != 0 {
            return Err(IndexFault::Reserved(reserved));
        }
        let (first, last) = (Height::from_le_bytes(self.array()?), Height::from_le_bytes(self.array()?));
        let genesis_id = Bytes32::from(self.array()?);
        IndexBuilder::of(compression, first, last, genesis_id, u64::from_le_bytes(self.array()?))
    }

    fn record(&mut self, builder: &mut IndexBuilder) -> Result<(), IndexFault> {
        let mut sets: Vec<ValidatorSet> = Vec::new();
        let decided: DecidedValue = loop {
            let may_be_set = sets.len() < usize::from(MAX_RECORD_SETS);
            match self.frame(may_be_set)? {
                (FrameKind::ValidatorSet, content) => sets.push(decode(content)?),
                (_, content) => break decode(content)?,
            }
        };
        let parts = self.slice(part_count(decided.value.blob_count()) * PART_LENGTH_BYTES)?;
        let (parts, _) = parts.as_chunks::<PART_LENGTH_BYTES>();
        let parts: Vec<u64> = parts.iter().map(|length| u64::from(u32::from_le_bytes(*length))).collect();
        builder.record(sets, decided, &parts)
    }

    /// The next frame: of a value, or where it may be, of a set.
    fn frame(&mut self, may_be_set: bool) -> Result<(FrameKind, &'a [u8]), IndexFault> {
        let [found] = self.array()?;
        let length = u32::from_le_bytes(self.array()?);
        let kind = match FrameKind::from_byte(found) {
            Some(FrameKind::DecidedValue) => FrameKind::DecidedValue,
            Some(FrameKind::ValidatorSet) if may_be_set => FrameKind::ValidatorSet,
            _ if may_be_set => return Err(IndexFault::Frame { found, due: "a validator set or a decided value" }),
            _ => return Err(IndexFault::Frame { found, due: "a decided value" }),
        };
        let size = kind.bounds().check(u64::from(length)).map_err(|_| IndexFault::Length { kind, length })?;
        Ok((kind, self.slice(size)?))
    }
}

const _: () = assert!(FRAME_HEAD_BYTES == 1 + size_of::<u32>(), "frames are those of a body");
