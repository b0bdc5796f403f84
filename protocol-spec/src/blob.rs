//! Blobs and blob sidecars (EIP-4844).

use std::{fmt, ops::Range};

use bytes::Bytes;
use sha2::{Digest, Sha256};
use ssz_rs::prelude::*;

use crate::{
    BYTES_PER_BLOB, Bytes32, Bytes48, DecodeError, Height,
    bytes::exact,
    container::{leaves, merkle_root, ssz_container},
    decode,
};

/// First byte of the versioned hash of a KZG commitment (EIP-4844).
pub const VERSIONED_HASH_VERSION_KZG: u8 = 1;

/// `0x01 || sha256(commitment)[1..]`, the name of a blob in execution transactions and everywhere in Lapis.
pub fn versioned_hash(commitment: &Bytes48) -> Bytes32 {
    let mut hash: [u8; 32] = Sha256::digest(commitment.0).into();
    hash[0] = VERSIONED_HASH_VERSION_KZG;
    hash.into()
}

/// 131,072 bytes on the heap, shared by clones; maybe a part of the buffer in which they arrived.
#[derive(Clone, PartialEq, Eq)]
pub struct Blob(Bytes);

static ZERO_BLOB: [u8; BYTES_PER_BLOB] = [0; BYTES_PER_BLOB];

impl Blob {
    /// Copies `slice`. `None` unless it has exactly 131,072 bytes.
    pub fn from_slice(slice: &[u8]) -> Option<Self> {
        (slice.len() == BYTES_PER_BLOB).then(|| Self(Bytes::copy_from_slice(slice)))
    }

    /// Takes `bytes` as they are, without a copy. `None` unless there are exactly 131,072.
    pub fn from_bytes(bytes: Bytes) -> Option<Self> {
        (bytes.len() == BYTES_PER_BLOB).then_some(Self(bytes))
    }

    /// The bytes.
    pub fn as_array(&self) -> &[u8; BYTES_PER_BLOB] {
        // Every constructor has looked at the length.
        self.0.first_chunk().unwrap_or(&ZERO_BLOB)
    }
}

impl Default for Blob {
    fn default() -> Self {
        Self(Bytes::from_static(&ZERO_BLOB))
    }
}

impl AsRef<[u8]> for Blob {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, ..] = self.as_array();
        write!(f, "Blob({a:02x}{b:02x}{c:02x}{d:02x}..)")
    }
}

impl ssz_rs::Sized for Blob {
    fn is_variable_size() -> bool {
        false
    }

    fn size_hint() -> usize {
        BYTES_PER_BLOB
    }
}

impl Serialize for Blob {
    fn serialize(&self, buffer: &mut Vec<u8>) -> Result<usize, SerializeError> {
        buffer.extend_from_slice(self.as_ref());
        Ok(BYTES_PER_BLOB)
    }
}

impl Deserialize for Blob {
    fn deserialize(encoding: &[u8]) -> Result<Self, DeserializeError> {
        exact(encoding, BYTES_PER_BLOB)?;
        Self::from_slice(encoding)
            .ok_or(DeserializeError::ExpectedFurtherInput { provided: encoding.len(), expected: BYTES_PER_BLOB })
    }
}

impl Merkleized for Blob {
    fn hash_tree_root(&mut self) -> Result<Node, MerkleizationError> {
        merkle_root(leaves(self.as_ref()))
    }
}

impl SimpleSerialize for Blob {}

/// One blob with its commitment, its proof and its place in the chain.
///
/// On the wire, `height` and `index` are a place where the responder holds the blob; after matching they are the place
/// for which the requester wants it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlobSidecar {
    /// Height of the value that names the blob.
    pub height: Height,
    /// Position among the value's commitments.
    pub index: u64,
    /// KZG commitment to the blob.
    pub kzg_commitment: Bytes48,
    /// Proof that the commitment is one to this blob.
    pub kzg_proof: Bytes48,
    /// The data.
    pub blob: Blob,
}

impl BlobSidecar {
    /// Bytes before the blob: height, index, commitment, proof.
    pub const HEADER_BYTES: usize = 8 + 8 + 48 + 48;
    /// Bytes of the SSZ encoding.
    pub const BYTES: usize = Self::HEADER_BYTES + BYTES_PER_BLOB;

    /// Decodes the SSZ encoding; the blob stays where it is and shares the buffer.
    ///
    /// # Errors
    /// As [`crate::decode`].
    pub fn from_ssz(encoding: &Bytes) -> Result<Self, DecodeError> {
        exact(encoding, Self::BYTES)?;
        let blob = encoding.slice(Self::HEADER_BYTES..);
        let part = |range: Range<usize>| encoding.get(range).unwrap_or_default();
        Ok(Self {
            height: decode(part(0..8))?,
            index: decode(part(8..16))?,
            kzg_commitment: decode(part(16..64))?,
            kzg_proof: decode(part(64..Self::HEADER_BYTES))?,
            blob: Blob(blob),
        })
    }

    /// The versioned hash of the commitment.
    pub fn versioned_hash(&self) -> Bytes32 {
        versioned_hash(&self.kzg_commitment)
    }

    /// The SSZ encoding up to the blob's bytes, for writers that have the blob in pieces.
    pub fn header(height: Height, index: u64, commitment: &Bytes48, proof: &Bytes48) -> [u8; Self::HEADER_BYTES] {
        let mut header = [0; Self::HEADER_BYTES];
        header[..8].copy_from_slice(&height.to_le_bytes());
        header[8..16].copy_from_slice(&index.to_le_bytes());
        header[16..64].copy_from_slice(commitment.as_slice());
        header[64..].copy_from_slice(proof.as_slice());
        header
    }
}

ssz_container!(BlobSidecar { height: u64, index: u64, kzg_commitment: Bytes48, kzg_proof: Bytes48, blob: Blob });

#[cfg(test)]
mod tests;
