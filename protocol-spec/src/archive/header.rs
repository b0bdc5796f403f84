//! The header: what an archive is, before any of its content.

use xxhash_rust::xxh3::xxh3_64;

use super::{ArchiveError, ArchiveFault, CHECKSUM_BYTES, MAGIC, VERSION, fields::Fields};
use crate::{Bytes32, Genesis, Height, MAX_VALIDATORS, decode, encode};

/// Bytes of the header before the genesis.
pub(super) const START_BYTES: usize = 8 + 2 + 1 + 1 + 8 + 8 + 32 + 4;
/// Longest SSZ genesis: fixed parts, chain id, and a set of as many members as there can be.
pub(super) const MAX_GENESIS_BYTES: usize = 80 + 64 + 4 + 40 * MAX_VALIDATORS;
/// Shortest legal SSZ genesis: fixed parts, and a set of one member.
pub(super) const MIN_GENESIS_BYTES: usize = 80 + 4 + 40;

/// How the body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Compression {
    /// As it is.
    None = 0,
    /// One or more zstd frames (RFC 8878), windows of at most 2^[`super::MAX_ZSTD_WINDOW_LOG`] bytes.
    Zstd = 1,
}

impl Compression {
    pub(super) fn from_byte(byte: u8) -> Option<Self> {
        [Self::None, Self::Zstd].into_iter().find(|compression| *compression as u8 == byte)
    }
}

/// What an archive holds, and of which chain. Claims, like everything in an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    compression: Compression,
    first: Height,
    last: Height,
    genesis: Genesis,
    genesis_id: Bytes32,
}

impl Header {
    /// The header of an archive of the heights from `first` up to and including `last`.
    ///
    /// # Errors
    /// [`ArchiveFault::Range`], [`ArchiveFault::Genesis`].
    pub fn new(compression: Compression, first: Height, last: Height, genesis: Genesis) -> Result<Self, ArchiveFault> {
        if !is_range(first, last) {
            return Err(ArchiveFault::Range { first, last });
        }
        genesis.check()?;
        let genesis_id = genesis.id();
        Ok(Self { compression, first, last, genesis, genesis_id })
    }

    /// How the body is compressed.
    #[must_use]
    pub fn compression(&self) -> Compression {
        self.compression
    }

    /// The lowest height in it, at least 1.
    #[must_use]
    pub fn first(&self) -> Height {
        self.first
    }

    /// The highest height in it, below 2^64 - 1.
    #[must_use]
    pub fn last(&self) -> Height {
        self.last
    }

    /// The chain's definition.
    #[must_use]
    pub fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    /// Id of the chain: that of the genesis.
    #[must_use]
    pub fn genesis_id(&self) -> &Bytes32 {
        &self.genesis_id
    }

    /// The bytes that begin the archive.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let genesis = encode(&self.genesis);
        let length = u32::try_from(genesis.len()).unwrap_or(u32::MAX);
        let mut out = Vec::with_capacity(START_BYTES + genesis.len() + CHECKSUM_BYTES);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&[self.compression as u8, 0]);
        out.extend_from_slice(&self.first.to_le_bytes());
        out.extend_from_slice(&self.last.to_le_bytes());
        out.extend_from_slice(self.genesis_id.as_slice());
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&genesis);
        let checksum = xxh3_64(&out);
        out.extend_from_slice(&checksum.to_le_bytes());
        out
    }
}

/// Whether an archive can have the heights from `first` up to and including `last`.
pub(super) fn is_range(first: Height, last: Height) -> bool {
    first >= 1 && first <= last && last < Height::MAX
}

/// Reads a header in two pieces.
#[derive(Clone, Debug, Default)]
pub struct HeaderDecoder {
    start: Option<Start>,
}

/// The header up to the genesis.
#[derive(Clone, Debug)]
struct Start {
    bytes: [u8; START_BYTES],
    compression: Compression,
    first: Height,
    last: Height,
    genesis_id: Bytes32,
    genesis_bytes: usize,
}

impl HeaderDecoder {
    /// A decoder at the first byte of an archive.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes that are wanted next: at most some 40 KiB.
    #[must_use]
    pub fn wants(&self) -> usize {
        self.start.as_ref().map_or(START_BYTES, |start| start.genesis_bytes + CHECKSUM_BYTES)
    }

    /// Takes the bytes that are wanted, or fewer where the archive ends. The second piece completes the header.
    ///
    /// # Errors
    /// [`ArchiveError`] for the first thing that is wrong.
    pub fn accept(&mut self, bytes: &[u8]) -> Result<Option<Header>, ArchiveError> {
        match &self.start {
            None => {
                self.start = Some(Start::parse(bytes).map_err(|fault| error(0, fault))?);
                Ok(None)
            }
            Some(start) => start.complete(bytes).map(Some).map_err(|fault| error(START_BYTES as u64, fault)),
        }
    }
}

impl Start {
    fn parse(bytes: &[u8]) -> Result<Self, ArchiveFault> {
        let known = bytes.len().min(MAGIC.len());
        if bytes.is_empty() || bytes.get(..known) != MAGIC.get(..known) {
            return Err(ArchiveFault::NotAnArchive);
        }
        let bytes: [u8; START_BYTES] = bytes.try_into().map_err(|_| ArchiveFault::Truncated)?;
        let mut fields = Fields(bytes.get(MAGIC.len()..).unwrap_or_default());
        let version = u16::from_le_bytes(fields.take()?);
        if version != VERSION {
            return Err(ArchiveFault::Version(version));
        }
        let [compression, reserved] = fields.take()?;
        let compression = Compression::from_byte(compression).ok_or(ArchiveFault::Compression(compression))?;
        if reserved != 0 {
            return Err(ArchiveFault::Reserved(reserved));
        }
        let (first, last) = (u64::from_le_bytes(fields.take()?), u64::from_le_bytes(fields.take()?));
        let genesis_id = Bytes32::from(fields.take()?);
        let length = u32::from_le_bytes(fields.take()?);
        let genesis_bytes = usize::try_from(length).ok().filter(|length| *length <= MAX_GENESIS_BYTES);
        let genesis_bytes = genesis_bytes.ok_or(ArchiveFault::GenesisLength(length))?;
        Ok(Self { bytes, compression, first, last, genesis_id, genesis_bytes })
    }

    fn complete(&self, bytes: &[u8]) -> Result<Header, ArchiveFault> {
        if bytes.len() != self.genesis_bytes + CHECKSUM_BYTES {
            return Err(ArchiveFault::Truncated);
        }
        let (genesis, checksum) = bytes.split_at(self.genesis_bytes);
        if xxh3_64(&[&self.bytes, genesis].concat()).to_le_bytes() != *checksum {
            return Err(ArchiveFault::Checksum);
        }
        let header = Header::new(self.compression, self.first, self.last, decode(genesis)?)?;
        if header.genesis_id != self.genesis_id {
            return Err(ArchiveFault::GenesisId { stated: self.genesis_id, found: header.genesis_id });
        }
        Ok(header)
    }
}

fn error(offset: u64, fault: ArchiveFault) -> ArchiveError {
    ArchiveError { offset, height: None, fault }
}
