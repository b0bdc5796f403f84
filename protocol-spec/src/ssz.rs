//! Encoding and strict decoding of whole messages: what [`decode`] accepts re-encodes to the same bytes.

use ssz_rs::{DeserializeError, SimpleSerialize};

use crate::Bytes32;

/// Why bytes are not the SSZ encoding of a container. Always the fault of whoever wrote the bytes.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Wrong length, wrong offsets, a list over its bound.
    #[error("not a valid SSZ encoding: {0}")]
    Ssz(#[from] DeserializeError),
    /// Decodes, but is not how the decoded object is encoded.
    #[error("not the canonical SSZ encoding")]
    NotCanonical,
    /// A number outside the values that the field may take.
    #[error("{field} has the illegal value {value}")]
    IllegalValue {
        /// Name of the field.
        field: &'static str,
        /// What was sent.
        value: u64,
    },
}

/// The SSZ encoding of `object`.
pub fn encode<T: SimpleSerialize>(object: &T) -> Vec<u8> {
    let mut out = Vec::with_capacity(T::size_hint());
    // Lists cannot outgrow their bounds: they are only built by `try_from`, and `encode` takes no other container.
    #[expect(
        clippy::expect_used,
        reason = "bounds are held by the types, totals stay far below the SSZ limit of 4 GiB"
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
    #[expect(clippy::expect_used, reason = "as in `encode`: bounds are held by the types")]
    let node = object.clone().hash_tree_root().expect("bounded containers merkleize");
    let mut root = Bytes32::ZERO;
    root.0.copy_from_slice(node.as_ref());
    root
}
