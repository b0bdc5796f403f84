//! Byte strings of fixed and bounded length, encoded and decoded with one copy.
//!
//! `ssz_rs` treats a byte vector as any other vector and visits it element by element, at some 45 MB/s. The types here
//! implement its traits with one `memcpy`.

use std::{fmt, ops::Deref};

use bytes::Bytes;
use ssz_rs::prelude::*;

use crate::container::{leaves, merkle_root};

/// `N` bytes (SSZ `Vector[byte, N]`), printed as `0x`-prefixed hex.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FixedBytes<const N: usize>(pub [u8; N]);

/// 20 bytes: an address.
pub type Bytes20 = FixedBytes<20>;
/// 32 bytes: a hash, a root, an id, an ed25519 public key.
pub type Bytes32 = FixedBytes<32>;
/// 48 bytes: a KZG commitment or proof (a compressed G1 point).
pub type Bytes48 = FixedBytes<48>;
/// 64 bytes: an ed25519 signature.
pub type Bytes64 = FixedBytes<64>;
/// A validator's address: the first 20 bytes of the sha256 of its public key.
pub type Address = Bytes20;

impl<const N: usize> FixedBytes<N> {
    /// All bytes zero.
    pub const ZERO: Self = Self([0; N]);

    /// The bytes of `slice` if there are exactly `N`.
    pub fn from_slice(slice: &[u8]) -> Option<Self> {
        slice.try_into().ok().map(Self)
    }

    /// Parses hex, with or without `0x`, in either case. `None` unless it is exactly `N` bytes.
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut out = [0; N];
        hex::decode_to_slice(text.strip_prefix("0x").unwrap_or(text), &mut out).ok()?;
        Some(Self(out))
    }

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }
}

impl<const N: usize> Default for FixedBytes<N> {
    fn default() -> Self {
        Self::ZERO
    }
}

impl<const N: usize> From<[u8; N]> for FixedBytes<N> {
    fn from(bytes: [u8; N]) -> Self {
        Self(bytes)
    }
}

impl<const N: usize> AsRef<[u8]> for FixedBytes<N> {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl<const N: usize> fmt::Display for FixedBytes<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("0x")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl<const N: usize> fmt::Debug for FixedBytes<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<const N: usize> ssz_rs::Sized for FixedBytes<N> {
    fn is_variable_size() -> bool {
        false
    }

    fn size_hint() -> usize {
        N
    }
}

impl<const N: usize> Serialize for FixedBytes<N> {
    fn serialize(&self, buffer: &mut Vec<u8>) -> Result<usize, SerializeError> {
        buffer.extend_from_slice(&self.0);
        Ok(N)
    }
}

impl<const N: usize> Deserialize for FixedBytes<N> {
    fn deserialize(encoding: &[u8]) -> Result<Self, DeserializeError> {
        exact(encoding, N)?;
        let mut out = Self::ZERO;
        out.0.copy_from_slice(encoding);
        Ok(out)
    }
}

impl<const N: usize> Merkleized for FixedBytes<N> {
    fn hash_tree_root(&mut self) -> Result<Node, MerkleizationError> {
        merkle_root(leaves(&self.0))
    }
}

impl<const N: usize> SimpleSerialize for FixedBytes<N> {}

/// At most `MAX` bytes (SSZ `List[byte, MAX]`), cheap to clone.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ByteList<const MAX: usize>(Bytes);

impl<const MAX: usize> ByteList<MAX> {
    /// Wraps `bytes` without copying. `None` if there are more than `MAX`.
    pub fn new(bytes: impl Into<Bytes>) -> Option<Self> {
        let bytes = bytes.into();
        (bytes.len() <= MAX).then_some(Self(bytes))
    }

    /// The shared buffer itself.
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }
}

impl<const MAX: usize> Deref for ByteList<MAX> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl<const MAX: usize> fmt::Debug for ByteList<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ByteList({} bytes)", self.0.len())
    }
}

impl<const MAX: usize> ssz_rs::Sized for ByteList<MAX> {
    fn is_variable_size() -> bool {
        true
    }

    fn size_hint() -> usize {
        0
    }
}

impl<const MAX: usize> Serialize for ByteList<MAX> {
    fn serialize(&self, buffer: &mut Vec<u8>) -> Result<usize, SerializeError> {
        buffer.extend_from_slice(&self.0);
        Ok(self.0.len())
    }
}

impl<const MAX: usize> Deserialize for ByteList<MAX> {
    fn deserialize(encoding: &[u8]) -> Result<Self, DeserializeError> {
        if encoding.len() > MAX {
            return Err(InstanceError::Bounded { bound: MAX, provided: encoding.len() }.into());
        }
        Ok(Self(Bytes::copy_from_slice(encoding)))
    }
}

impl<const MAX: usize> Merkleized for ByteList<MAX> {
    fn hash_tree_root(&mut self) -> Result<Node, MerkleizationError> {
        match List::<u8, MAX>::try_from(self.0.to_vec()) {
            Ok(mut list) => list.hash_tree_root(),
            Err(_) => Err(MerkleizationError::InputExceedsLimit(MAX)),
        }
    }
}

impl<const MAX: usize> SimpleSerialize for ByteList<MAX> {}

/// Refuses an encoding that is not exactly `expected` bytes long.
pub(crate) fn exact(encoding: &[u8], expected: usize) -> Result<(), DeserializeError> {
    let provided = encoding.len();
    match provided.cmp(&expected) {
        std::cmp::Ordering::Less => Err(DeserializeError::ExpectedFurtherInput { provided, expected }),
        std::cmp::Ordering::Greater => Err(DeserializeError::AdditionalInput { provided, expected }),
        std::cmp::Ordering::Equal => Ok(()),
    }
}

#[cfg(test)]
mod tests;
