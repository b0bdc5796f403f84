//! Encoding and strict decoding of whole messages: what [`decode`] accepts re-encodes to the same bytes.

use ssz_rs::{DeserializeError, SimpleSerialize};

use crate::{Bytes32, Method};

/// Why bytes are not the SSZ encoding of a container. Always the fault of whoever wrote the bytes.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Wrong length, wrong offsets, a list over its bound.
    #[error("not a valid SSZ encoding: {0}")]
    Ssz(#[from] DeserializeError),
    /// A chunk in answer to a method that has none.
    #[error("{} is not answered with items", .0.name())]
    NoItems(Method),
}

/// The SSZ encoding of `object`.
///
/// # Panics
/// If the caller has pushed a list beyond its bound, which decoding and `try_from` never do.
pub fn encode<T: SimpleSerialize>(object: &T) -> Vec<u8> {
    let mut out = Vec::with_capacity(T::size_hint());
    #[expect(
        clippy::expect_used,
        reason = "what was decoded is within bounds, and totals stay far below the SSZ limit of 4 GiB"
    )]
    object.serialize(&mut out).expect("bounded containers serialize");
    out
}

/// Decodes `bytes` as exactly one `T`.
///
/// # Errors
/// Whatever is not byte for byte what [`encode`] gives for the result.
pub fn decode<T: SimpleSerialize>(bytes: &[u8]) -> Result<T, DecodeError> {
    Ok(T::deserialize(bytes)?)
}

/// The SSZ hash tree root of `object`.
pub(crate) fn hash_tree_root<T: SimpleSerialize + Clone>(object: &T) -> Bytes32 {
    #[expect(clippy::expect_used, reason = "as in `encode`: what was decoded is within bounds")]
    let node = object.clone().hash_tree_root().expect("bounded containers merkleize");
    let mut root = Bytes32::ZERO;
    root.0.copy_from_slice(node.as_ref());
    root
}

#[cfg(test)]
mod tests;
