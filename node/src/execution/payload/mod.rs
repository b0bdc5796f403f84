//! The check of one execution payload against the decided value that names it.
//!
//! [`check_payload`] is the only way to a [`CheckedPayload`]. It proves that the bytes are the certified ones, that they
//! are an `ExecutionPayloadV3` in its one canonical encoding, that the block they describe has the certified hash, and
//! that its blob transactions name the certified blobs, in order. It does not execute: roots of state and receipts are
//! bound by the block hash and otherwise taken as given.

mod layout;
#[cfg(test)]
mod tests;

use alloy_consensus::{EthereumTxEnvelope, TxEip4844};
use alloy_eips::{
    eip2718::{Decodable2718, EIP7702_TX_TYPE_ID, Eip2718Error},
    eip4844::DATA_GAS_PER_BLOB,
};
use alloy_primitives::{B256, Bytes};
use alloy_rpc_types_engine::{ExecutionPayloadV1, ExecutionPayloadV3, PayloadError};
use lapis_protocol_spec::Value;
use sha2::{Digest, Sha256};
use ssz::{Decode, DecodeError};

pub use self::layout::LayoutFault;
use super::fork::{Fork, ForkSchedule, UnsupportedFork};

/// What a decided value says about its execution block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpectedBlock {
    /// Height of the decided value; not the block number.
    pub height: u64,
    /// Hash of the block.
    pub block_hash: B256,
    /// Hash of the block before it.
    pub parent_block_hash: B256,
    /// The id of the parent value, which the header carries as its parent beacon block root (EIP-4788).
    pub parent_beacon_block_root: B256,
    /// Seconds since the Unix epoch.
    pub timestamp: u64,
    /// The fork in force at `timestamp`.
    pub fork: Fork,
    /// Length of the SSZ payload in bytes.
    pub payload_size: u64,
    /// SHA-256 of the SSZ payload.
    pub payload_digest: B256,
    /// EIP-7685 hash of the execution requests; before Prague, that of no requests.
    pub requests_hash: B256,
    /// Versioned hashes of the value's commitments, in their order.
    pub versioned_hashes: Vec<B256>,
}

/// Why a payload is not the block that a decided value names.
#[derive(Debug, thiserror::Error)]
pub enum BlockFault {
    /// Not as long as certified.
    #[error("payload is {got} bytes long, the decided value says {expected}")]
    Size {
        /// Certified length in bytes.
        expected: u64,
        /// Length of what was given.
        got: u64,
    },
    /// Not the certified bytes.
    #[error("payload digest is {got}, the decided value says {expected}")]
    Digest {
        /// Certified SHA-256.
        expected: B256,
        /// SHA-256 of what was given.
        got: B256,
    },
    /// Out of the type's bounds.
    #[error("payload is out of bounds")]
    Layout(#[from] LayoutFault),
    /// Not the SSZ encoding of the type.
    #[error("payload is not an SSZ ExecutionPayloadV3: {0:?}")]
    Ssz(DecodeError),
    /// The payload's own hash field names another block.
    #[error("payload says it is block {got}, the decided value says {expected}")]
    AdvertisedHash {
        /// Certified block hash.
        expected: B256,
        /// The payload's `block_hash`.
        got: B256,
    },
    /// Another parent than certified.
    #[error("payload's parent is block {got}, the decided value says {expected}")]
    ParentHash {
        /// Certified parent block hash.
        expected: B256,
        /// The payload's `parent_hash`.
        got: B256,
    },
    /// Another time than certified.
    #[error("payload's timestamp is {got}, the decided value says {expected}")]
    Timestamp {
        /// Certified timestamp in seconds.
        expected: u64,
        /// The payload's.
        got: u64,
    },
    /// More gas used than allowed.
    #[error("payload uses {used} gas of a limit of {limit}")]
    GasUsed {
        /// The payload's `gas_used`.
        used: u64,
        /// The payload's `gas_limit`.
        limit: u64,
    },
    /// The blob gas is not that of the certified number of blobs.
    #[error("payload's blob gas used is {got}, {blobs} blobs use {expected}")]
    BlobGasUsed {
        /// Certified number of blobs.
        blobs: usize,
        /// What they use.
        expected: u64,
        /// The payload's `blob_gas_used`.
        got: u64,
    },
    /// A transaction does not decode.
    #[error("transaction {index} does not decode")]
    Transaction {
        /// Place in the block.
        index: usize,
        /// What is wrong with it.
        source: Eip2718Error,
    },
    /// A transaction of a later fork.
    #[error("transaction {index} has type {kind}, which {fork:?} does not allow")]
    TransactionType {
        /// Place in the block.
        index: usize,
        /// EIP-2718 type byte.
        kind: u8,
        /// The fork in force.
        fork: Fork,
    },
    /// A blob transaction needs at least one blob (EIP-4844).
    #[error("blob transaction {index} names no blob")]
    NoBlobs {
        /// Place in the block.
        index: usize,
    },
    /// The blob transactions name more or fewer blobs than are certified.
    #[error("transactions name {got} blobs, the decided value says {expected}")]
    BlobCount {
        /// Certified number.
        expected: usize,
        /// Number in the transactions.
        got: usize,
    },
    /// The blob transactions name another blob than is certified at this place.
    #[error("blob {index} in the transactions is {got}, the decided value says {expected}")]
    VersionedHash {
        /// Place among the block's blobs.
        index: usize,
        /// Certified versioned hash.
        expected: B256,
        /// The one in the transactions.
        got: B256,
    },
    /// A field cannot be part of a header.
    #[error("payload has no valid header")]
    Header(#[source] PayloadError),
    /// The block's computed hash is another one.
    #[error("payload hashes to block {got}, the decided value says {expected}")]
    ComputedHash {
        /// Certified block hash.
        expected: B256,
        /// Computed block hash.
        got: B256,
    },
}

impl ExpectedBlock {
    /// Reads the expectation off a decided value.
    ///
    /// # Errors
    /// [`UnsupportedFork`] for a value that is older than Cancun.
    pub fn from_value(value: &Value, forks: ForkSchedule) -> Result<Self, UnsupportedFork> {
        Ok(Self {
            height: value.height,
            block_hash: B256::new(value.block_hash.0),
            parent_block_hash: B256::new(value.parent_block_hash.0),
            parent_beacon_block_root: B256::new(value.parent_value_id.0),
            timestamp: value.timestamp,
            fork: forks.fork_at(value.timestamp)?,
            payload_size: value.payload_size,
            payload_digest: B256::new(value.payload_digest.0),
            requests_hash: B256::new(value.requests_hash.0),
            versioned_hashes: value.versioned_hashes().map(|hash| B256::new(hash.0)).collect(),
        })
    }
}

impl BlockFault {
    /// Whether the bytes are simply not those that were certified. Such bytes were damaged or swapped after they had
    /// been checked; they say nothing about what the chain decided.
    #[must_use]
    pub fn is_uncertified_bytes(&self) -> bool {
        matches!(self, Self::Size { .. } | Self::Digest { .. })
    }
}

/// A payload that [`check_payload`] has accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedPayload(ExecutionPayloadV3);

impl CheckedPayload {
    /// Number of the block.
    #[must_use]
    pub fn block_number(&self) -> u64 {
        self.block().block_number
    }

    /// Hash of the block: certified, advertised and computed are equal.
    #[must_use]
    pub fn block_hash(&self) -> B256 {
        self.block().block_hash
    }

    /// Seconds since the Unix epoch.
    #[must_use]
    pub fn timestamp(&self) -> u64 {
        self.block().timestamp
    }

    /// The payload.
    #[must_use]
    pub fn payload(&self) -> &ExecutionPayloadV3 {
        &self.0
    }

    fn block(&self) -> &ExecutionPayloadV1 {
        &self.0.payload_inner.payload_inner
    }
}

/// Checks SSZ payload bytes against what the decided value says, cheap checks before dear ones.
///
/// The cost is linear in the payload: one SHA-256, one copy, one pass over the transactions, one Keccak trie.
///
/// # Errors
/// The first [`BlockFault`] found.
pub fn check_payload(payload_ssz: &[u8], expected: &ExpectedBlock) -> Result<CheckedPayload, BlockFault> {
    check_bytes(payload_ssz, expected)?;
    layout::check_bounds(payload_ssz)?;
    let payload = ExecutionPayloadV3::from_ssz_bytes(payload_ssz).map_err(BlockFault::Ssz)?;
    check_fields(&payload, expected)?;
    check_blobs(&payload.payload_inner.payload_inner.transactions, expected)?;
    check_hash(&payload, expected)?;
    Ok(CheckedPayload(payload))
}

fn check_bytes(payload_ssz: &[u8], expected: &ExpectedBlock) -> Result<(), BlockFault> {
    let size = payload_ssz.len() as u64;
    if size != expected.payload_size {
        return Err(BlockFault::Size { expected: expected.payload_size, got: size });
    }
    let digest = B256::new(Sha256::digest(payload_ssz).into());
    if digest != expected.payload_digest {
        return Err(BlockFault::Digest { expected: expected.payload_digest, got: digest });
    }
    Ok(())
}

fn check_fields(payload: &ExecutionPayloadV3, expected: &ExpectedBlock) -> Result<(), BlockFault> {
    let block = &payload.payload_inner.payload_inner;
    if block.block_hash != expected.block_hash {
        return Err(BlockFault::AdvertisedHash { expected: expected.block_hash, got: block.block_hash });
    }
    if block.parent_hash != expected.parent_block_hash {
        return Err(BlockFault::ParentHash { expected: expected.parent_block_hash, got: block.parent_hash });
    }
    if block.timestamp != expected.timestamp {
        return Err(BlockFault::Timestamp { expected: expected.timestamp, got: block.timestamp });
    }
    if block.gas_used > block.gas_limit {
        return Err(BlockFault::GasUsed { used: block.gas_used, limit: block.gas_limit });
    }
    let blobs = expected.versioned_hashes.len();
    let blob_gas = (blobs as u64).saturating_mul(DATA_GAS_PER_BLOB);
    if payload.blob_gas_used != blob_gas {
        return Err(BlockFault::BlobGasUsed { blobs, expected: blob_gas, got: payload.blob_gas_used });
    }
    Ok(())
}

fn check_blobs(transactions: &[Bytes], expected: &ExpectedBlock) -> Result<(), BlockFault> {
    let named = blob_versioned_hashes(transactions, expected.fork)?;
    if named.len() != expected.versioned_hashes.len() {
        return Err(BlockFault::BlobCount { expected: expected.versioned_hashes.len(), got: named.len() });
    }
    for (index, (&got, &expected)) in named.iter().zip(&expected.versioned_hashes).enumerate() {
        if got != expected {
            return Err(BlockFault::VersionedHash { index, expected, got });
        }
    }
    Ok(())
}

/// The versioned hashes that a block's blob transactions name, in transaction order.
///
/// `transactions` are EIP-2718 encodings without sidecars, as a block holds them.
///
/// # Errors
/// [`BlockFault::Transaction`] for bytes that are not exactly one transaction, [`BlockFault::TransactionType`] for
/// one that `fork` does not know, [`BlockFault::NoBlobs`] for a blob transaction without blobs.
pub fn blob_versioned_hashes(transactions: &[Bytes], fork: Fork) -> Result<Vec<B256>, BlockFault> {
    let mut hashes = Vec::new();
    for (index, encoded) in transactions.iter().enumerate() {
        let transaction = EthereumTxEnvelope::<TxEip4844>::decode_2718_exact(encoded)
            .map_err(|source| BlockFault::Transaction { index, source })?;
        match (transaction, fork) {
            (EthereumTxEnvelope::Eip4844(signed), _) => {
                let named = &signed.tx().blob_versioned_hashes;
                if named.is_empty() {
                    return Err(BlockFault::NoBlobs { index });
                }
                hashes.extend_from_slice(named);
            }
            (EthereumTxEnvelope::Eip7702(_), Fork::Cancun) => {
                return Err(BlockFault::TransactionType { index, kind: EIP7702_TX_TYPE_ID, fork });
            }
            (
                EthereumTxEnvelope::Legacy(_)
                | EthereumTxEnvelope::Eip2930(_)
                | EthereumTxEnvelope::Eip1559(_)
                | EthereumTxEnvelope::Eip7702(_),
                _,
            ) => {}
        }
    }
    Ok(hashes)
}

fn check_hash(payload: &ExecutionPayloadV3, expected: &ExpectedBlock) -> Result<(), BlockFault> {
    // Transactions are reference-counted bytes: the clone copies no transaction.
    let mut header = payload.clone().into_block_raw().map_err(BlockFault::Header)?.header;
    header.parent_beacon_block_root = Some(expected.parent_beacon_block_root);
    header.requests_hash = match expected.fork {
        Fork::Cancun => None,
        Fork::Prague => Some(expected.requests_hash),
    };
    let got = header.hash_slow();
    if got == expected.block_hash {
        Ok(())
    } else {
        Err(BlockFault::ComputedHash { expected: expected.block_hash, got })
    }
}
