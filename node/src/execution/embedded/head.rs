//! The embedded engine's head and its form on disk.
//!
//! ```text
//! format (1 byte, = 1) | height u64 | block number u64 | timestamp u64 | block hash (32) | check (8)
//! ```
//! Integers are little endian; the check is the first 8 bytes of the SHA-256 of everything before it. A damaged head
//! would make an honest chain look invalid, so it is told apart here.

use alloy_primitives::B256;
use lapis_protocol_spec::Height;
use sha2::{Digest, Sha256};

const FORMAT: u8 = 1;
const BODY_BYTES: usize = 1 + 8 + 8 + 8 + 32;
const CHECK_BYTES: usize = 8;

/// The last block of the execution chain as far as it is imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Height of the decided value; 0 at the execution genesis.
    pub height: Height,
    /// Hash of the block.
    pub block_hash: B256,
    /// Number of the block in the execution chain.
    pub block_number: u64,
    /// Seconds since the Unix epoch.
    pub timestamp: u64,
}

/// Stored bytes that are not a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeadFormatError {
    /// Nothing there.
    #[error("stored engine head is empty")]
    Empty,
    /// Written by another version.
    #[error("stored engine head has format {format}, this version reads format {FORMAT}")]
    Format {
        /// The format byte found.
        format: u8,
    },
    /// Not as long as the format is.
    #[error("stored engine head has {length} bytes, not {}", Head::BYTES)]
    Length {
        /// Length found, in bytes.
        length: usize,
    },
    /// Changed since it was written.
    #[error("stored engine head is damaged")]
    Damaged,
}

impl Head {
    /// Length of the stored form.
    pub const BYTES: usize = BODY_BYTES + CHECK_BYTES;

    /// The head before height 1: block number 0 at the genesis time.
    #[must_use]
    pub fn genesis(execution_block_hash: B256, genesis_time: u64) -> Self {
        Self { height: 0, block_hash: execution_block_hash, block_number: 0, timestamp: genesis_time }
    }

    /// The stored form.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(Self::BYTES);
        bytes.push(FORMAT);
        bytes.extend_from_slice(&self.height.to_le_bytes());
        bytes.extend_from_slice(&self.block_number.to_le_bytes());
        bytes.extend_from_slice(&self.timestamp.to_le_bytes());
        bytes.extend_from_slice(self.block_hash.as_slice());
        let digest = Sha256::digest(&bytes);
        bytes.extend(digest.iter().take(CHECK_BYTES));
        bytes
    }

    /// Reads the stored form.
    ///
    /// # Errors
    /// [`HeadFormatError`]; the format byte is looked at first, so that a newer version's head is named as such.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, HeadFormatError> {
        let format = *bytes.first().ok_or(HeadFormatError::Empty)?;
        if format != FORMAT {
            return Err(HeadFormatError::Format { format });
        }
        let stored: &[u8; Self::BYTES] =
            bytes.try_into().map_err(|_| HeadFormatError::Length { length: bytes.len() })?;
        let (body, check) = stored.split_at(BODY_BYTES);
        if !Sha256::digest(body).starts_with(check) {
            return Err(HeadFormatError::Damaged);
        }
        Self::from_body(body).ok_or(HeadFormatError::Length { length: bytes.len() })
    }

    fn from_body(body: &[u8]) -> Option<Self> {
        let (_format, rest) = body.split_first()?;
        let (height, rest) = rest.split_first_chunk::<8>()?;
        let (block_number, rest) = rest.split_first_chunk::<8>()?;
        let (timestamp, rest) = rest.split_first_chunk::<8>()?;
        Some(Self {
            height: u64::from_le_bytes(*height),
            block_number: u64::from_le_bytes(*block_number),
            timestamp: u64::from_le_bytes(*timestamp),
            block_hash: B256::new(*rest.first_chunk::<32>()?),
        })
    }
}
