//! What consensus decides: metadata only.

use std::sync::Arc;

use ssz_rs::prelude::*;

use crate::{
    Bytes20, Bytes32, Bytes48, DecidedValue, MAX_BLOBS_PER_BLOCK, Verified, container::ssz_container, ssz,
    versioned_hash,
};

/// The metadata of one height. Everything else that belongs to the height is bound to it by hash or commitment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Value {
    /// Position in the chain, from 1.
    pub height: u64,
    /// Seconds since the Unix epoch; the execution block's timestamp.
    pub timestamp: u64,
    /// [`Value::id`] of the previous height, zero at height 1.
    pub parent_value_id: Bytes32,
    /// Address of the validator that proposed it.
    pub proposer: Bytes20,
    /// Root of the validator set that signs this height.
    pub validators_root: Bytes32,
    /// Root of the validator set that signs the next height.
    pub next_validators_root: Bytes32,
    /// Hash of the execution block.
    pub block_hash: Bytes32,
    /// Hash of the execution block's parent.
    pub parent_block_hash: Bytes32,
    /// sha256 of the SSZ execution payload.
    pub payload_digest: Bytes32,
    /// Bytes of the SSZ execution payload.
    pub payload_size: u64,
    /// EIP-7685 hash of the execution requests.
    pub requests_hash: Bytes32,
    /// Commitments to the blobs that belong to this height, in transaction order.
    pub blob_kzg_commitments: List<Bytes48, MAX_BLOBS_PER_BLOCK>,
}

ssz_container!(Value {
    height: u64,
    timestamp: u64,
    parent_value_id: Bytes32,
    proposer: Bytes20,
    validators_root: Bytes32,
    next_validators_root: Bytes32,
    block_hash: Bytes32,
    parent_block_hash: Bytes32,
    payload_digest: Bytes32,
    payload_size: u64,
    requests_hash: Bytes32,
    blob_kzg_commitments: List<Bytes48, MAX_BLOBS_PER_BLOCK>,
});

impl Value {
    /// The value's name: its hash tree root. Always recomputed, never taken from a message.
    pub fn id(&self) -> Bytes32 {
        ssz::hash_tree_root(self)
    }

    /// Number of blobs that belong to this height.
    pub fn blob_count(&self) -> usize {
        self.blob_kzg_commitments.len()
    }

    /// The commitment at `index`, if there is one.
    pub fn commitment(&self, index: u64) -> Option<&Bytes48> {
        self.blob_kzg_commitments.get(usize::try_from(index).ok()?)
    }

    /// Versioned hashes of the commitments, in order.
    pub fn versioned_hashes(&self) -> impl ExactSizeIterator<Item = Bytes32> + '_ {
        self.blob_kzg_commitments.iter().map(versioned_hash)
    }
}

/// A decided (or proposed) value together with its id, shared by everything that waits for its data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentifiedValue {
    id: Bytes32,
    value: Arc<Value>,
}

impl IdentifiedValue {
    /// Computes the id of `value`.
    pub fn new(value: Arc<Value>) -> Self {
        Self { id: value.id(), value }
    }

    /// Hash tree root of the value.
    pub fn id(&self) -> &Bytes32 {
        &self.id
    }

    /// The value.
    pub fn value(&self) -> &Arc<Value> {
        &self.value
    }
}

impl From<&Verified<DecidedValue>> for IdentifiedValue {
    fn from(decided: &Verified<DecidedValue>) -> Self {
        Self { id: *decided.value_id(), value: Arc::new(decided.value.clone()) }
    }
}

#[cfg(test)]
mod tests;
