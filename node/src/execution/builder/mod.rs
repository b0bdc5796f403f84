//! Blocks for a development network: real SSZ `ExecutionPayloadV3`s with signed EIP-4844 transactions.
//!
//! What is real: the encoding, the transactions and their signatures, the transactions root, the base fee and blob gas
//! arithmetic, the block hash at Cancun and at Prague. **What is not: there is no state.** No EVM runs, so a development
//! chain has no state transition:
//!
//! - `state_root` is the parent's, back to genesis, where it is the root of the empty trie;
//! - `receipts_root` is that of receipts in which each transaction succeeds with the gas of a plain transfer and no log;
//! - the signing account has no balance, its nonces just count up;
//! - there are no withdrawals and no execution requests.
//!
//! An execution client with the same genesis would refuse these blocks for their state root. The checks that do not
//! execute ([`super::payload`], [`super::embedded`]) accept them, and refuse every change to them.
//!
//! Building is a pure function of its arguments: the same parent and attributes give the same bytes.

mod account;
mod gas;
#[cfg(test)]
mod tests;
mod transactions;

use alloy_consensus::{
    Block, BlockBody, EthereumTxEnvelope, Header, Receipt, ReceiptEnvelope, TxEip4844,
    constants::{EMPTY_ROOT_HASH, EMPTY_WITHDRAWALS},
    proofs::{calculate_receipt_root, calculate_transaction_root},
};
use alloy_eips::{
    eip1559::{ETHEREUM_BLOCK_GAS_LIMIT_30M, INITIAL_BASE_FEE},
    eip4844::DATA_GAS_PER_BLOB,
    eip4895::Withdrawals,
    eip7685::EMPTY_REQUESTS_HASH,
};
use alloy_primitives::{Address, B256, Bytes, Log};
use alloy_rpc_types_engine::ExecutionPayloadV3;
use ssz::Encode;

use self::transactions::TRANSFER_GAS;
pub use self::{
    account::Account,
    gas::{BlobSchedule, DEFAULT_BLOBS_PER_TRANSACTION},
    transactions::{BlobSender, Fees, SentBlob, with_sidecar},
};
use super::fork::{Fork, ForkSchedule, UnsupportedFork};

/// What a block needs to know of its parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParentBlock {
    /// Hash of the block.
    pub hash: B256,
    /// Its number.
    pub number: u64,
    /// Seconds since the Unix epoch.
    pub timestamp: u64,
    /// Gas limit, which its children keep.
    pub gas_limit: u64,
    /// Gas used.
    pub gas_used: u64,
    /// Base fee per gas in wei.
    pub base_fee_per_gas: u64,
    /// Blob gas used.
    pub blob_gas_used: u64,
    /// Excess blob gas.
    pub excess_blob_gas: u64,
    /// State root, which its children keep.
    pub state_root: B256,
    /// Nonce of the signing account's next transaction.
    pub next_nonce: u64,
}

/// What is the proposer's to say about a block.
#[derive(Clone, Copy, Debug)]
pub struct BlockAttributes<'a> {
    /// Seconds since the Unix epoch, greater than the parent's.
    pub timestamp: u64,
    /// Who gets the tips.
    pub fee_recipient: Address,
    /// The header's `mix_hash`.
    pub prev_randao: B256,
    /// The parent value's id, zero at height 1.
    pub parent_beacon_block_root: B256,
    /// Versioned hashes of the block's blobs, in order.
    pub versioned_hashes: &'a [B256],
}

/// A finished block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuiltBlock {
    /// SSZ `ExecutionPayloadV3`.
    pub payload: Vec<u8>,
    /// EIP-7685 requests, the type byte first in each; blocks of [`BlockBuilder`] have none.
    pub execution_requests: Vec<bytes::Bytes>,
    /// EIP-7685 hash of these.
    pub requests_hash: B256,
    /// Hash, number and the rest of what the next block needs.
    pub as_parent: ParentBlock,
}

/// Why a block cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// More blobs than a block may have.
    #[error("{count} blobs are over the limit of {max} per block")]
    TooManyBlobs {
        /// Blobs asked for.
        count: u64,
        /// The chain's limit.
        max: u64,
    },
    /// Time must advance.
    #[error("timestamp {timestamp} is not after the parent's {parent}")]
    Timestamp {
        /// The parent's, in seconds.
        parent: u64,
        /// The one asked for.
        timestamp: u64,
    },
    /// The time is before Cancun.
    #[error(transparent)]
    Fork(#[from] UnsupportedFork),
    /// The transactions do not fit.
    #[error("the block's transactions use {used} gas, the limit is {limit}")]
    GasLimit {
        /// What they use.
        used: u64,
        /// The block's limit.
        limit: u64,
    },
    /// Blocks were above the blob target for so long that no fee buys a blob any more.
    #[error("no blob base fee at an excess of {excess_blob_gas} blob gas")]
    BlobFee {
        /// The block's excess.
        excess_blob_gas: u64,
    },
    /// A block number or nonce is used up.
    #[error("a counter of the chain is at its end")]
    Exhausted,
    /// Signing failed.
    #[error("a transaction cannot be signed")]
    Signature(#[from] k256::ecdsa::Error),
}

/// Builds blocks for one chain, with one signing account.
#[derive(Clone, Debug)]
pub struct BlockBuilder {
    chain_id: u64,
    forks: ForkSchedule,
    blobs: BlobSchedule,
    sender: BlobSender,
}

impl BlockBuilder {
    /// A builder for the chain with EIP-155 id `chain_id`.
    #[must_use]
    pub fn new(chain_id: u64, forks: ForkSchedule, blobs: BlobSchedule, account: Account) -> Self {
        Self { chain_id, forks, blobs, sender: BlobSender::new(chain_id, blobs.per_transaction, account) }
    }

    /// The execution chain's block 0. Its hash is what a genesis names as `execution_block_hash`.
    ///
    /// # Errors
    /// [`BuildError::Fork`] if the chain starts before Cancun.
    pub fn genesis(&self, genesis_time: u64) -> Result<ParentBlock, BuildError> {
        let header = Header {
            timestamp: genesis_time,
            gas_limit: ETHEREUM_BLOCK_GAS_LIMIT_30M,
            base_fee_per_gas: Some(INITIAL_BASE_FEE),
            withdrawals_root: Some(EMPTY_WITHDRAWALS),
            blob_gas_used: Some(0),
            excess_blob_gas: Some(0),
            parent_beacon_block_root: Some(B256::ZERO),
            requests_hash: self.header_requests_hash(genesis_time)?,
            extra_data: Bytes::copy_from_slice(&self.chain_id.to_be_bytes()),
            state_root: EMPTY_ROOT_HASH,
            ..Header::default()
        };
        Ok(ParentBlock::of(&header, 0))
    }

    /// Builds the block after `parent`.
    ///
    /// # Errors
    /// Every [`BuildError`].
    pub fn build(&self, parent: &ParentBlock, attributes: &BlockAttributes<'_>) -> Result<BuiltBlock, BuildError> {
        self.check(parent, attributes)?;
        let base_fee = gas::next_base_fee(parent);
        let excess_blob_gas = self.blobs.next_excess_blob_gas(parent);
        let fees = Fees {
            base_fee: u128::from(base_fee),
            blob_base_fee: self.blobs.blob_base_fee(excess_blob_gas).ok_or(BuildError::BlobFee { excess_blob_gas })?,
        };
        let signed = self.sender.transactions(parent.next_nonce, attributes.versioned_hashes, fees)?;
        let transactions = signed.ok_or(BuildError::Exhausted)?;
        let count = transactions.len() as u64;
        let gas_used = count.saturating_mul(TRANSFER_GAS);
        if gas_used > parent.gas_limit {
            return Err(BuildError::GasLimit { used: gas_used, limit: parent.gas_limit });
        }
        let header = Header {
            number: parent.number.checked_add(1).ok_or(BuildError::Exhausted)?,
            gas_used,
            transactions_root: calculate_transaction_root(&transactions),
            receipts_root: receipts_root(count),
            base_fee_per_gas: Some(base_fee),
            excess_blob_gas: Some(excess_blob_gas),
            requests_hash: self.header_requests_hash(attributes.timestamp)?,
            ..inherited_header(parent, attributes)
        };
        let next_nonce = parent.next_nonce.checked_add(count).ok_or(BuildError::Exhausted)?;
        Ok(seal(header, transactions, next_nonce))
    }

    fn check(&self, parent: &ParentBlock, attributes: &BlockAttributes<'_>) -> Result<(), BuildError> {
        let count = attributes.versioned_hashes.len() as u64;
        if count > self.blobs.max {
            return Err(BuildError::TooManyBlobs { count, max: self.blobs.max });
        }
        if attributes.timestamp <= parent.timestamp {
            return Err(BuildError::Timestamp { parent: parent.timestamp, timestamp: attributes.timestamp });
        }
        Ok(())
    }

    fn header_requests_hash(&self, timestamp: u64) -> Result<Option<B256>, UnsupportedFork> {
        Ok(match self.forks.fork_at(timestamp)? {
            Fork::Cancun => None,
            Fork::Prague => Some(EMPTY_REQUESTS_HASH),
        })
    }
}

impl ParentBlock {
    fn of(header: &Header, next_nonce: u64) -> Self {
        Self {
            hash: header.hash_slow(),
            number: header.number,
            timestamp: header.timestamp,
            gas_limit: header.gas_limit,
            gas_used: header.gas_used,
            base_fee_per_gas: header.base_fee_per_gas.unwrap_or_default(),
            blob_gas_used: header.blob_gas_used.unwrap_or_default(),
            excess_blob_gas: header.excess_blob_gas.unwrap_or_default(),
            state_root: header.state_root,
            next_nonce,
        }
    }
}

/// The header fields that follow from the parent and the attributes alone.
fn inherited_header(parent: &ParentBlock, attributes: &BlockAttributes<'_>) -> Header {
    Header {
        parent_hash: parent.hash,
        beneficiary: attributes.fee_recipient,
        state_root: parent.state_root,
        gas_limit: parent.gas_limit,
        timestamp: attributes.timestamp,
        mix_hash: attributes.prev_randao,
        withdrawals_root: Some(EMPTY_WITHDRAWALS),
        blob_gas_used: Some((attributes.versioned_hashes.len() as u64).saturating_mul(DATA_GAS_PER_BLOB)),
        parent_beacon_block_root: Some(attributes.parent_beacon_block_root),
        ..Header::default()
    }
}

/// Root of the receipts of `count` successful transfers.
fn receipts_root(count: u64) -> B256 {
    let receipts: Vec<ReceiptEnvelope> = (1..=count)
        .map(|position| Receipt::<Log> {
            status: true.into(),
            cumulative_gas_used: position.saturating_mul(TRANSFER_GAS),
            logs: Vec::new(),
        })
        .map(|receipt| ReceiptEnvelope::Eip4844(receipt.with_bloom()))
        .collect();
    calculate_receipt_root(&receipts)
}

fn seal(header: Header, transactions: Vec<EthereumTxEnvelope<TxEip4844>>, next_nonce: u64) -> BuiltBlock {
    let as_parent = ParentBlock::of(&header, next_nonce);
    let body = BlockBody { transactions, ommers: Vec::new(), withdrawals: Some(Withdrawals::default()) };
    let payload = ExecutionPayloadV3::from_block_unchecked(as_parent.hash, &Block { header, body });
    BuiltBlock {
        payload: payload.as_ssz_bytes(),
        execution_requests: Vec::new(),
        requests_hash: EMPTY_REQUESTS_HASH,
        as_parent,
    }
}
