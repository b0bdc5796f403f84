//! The definition of a chain.

use crate::{ByteList, Bytes32, MAX_BLOBS_PER_BLOCK, ValidatorSet, ValidatorSetFault, container::ssz_container, ssz};

/// Everything that nodes of one chain must agree on before the first height.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Genesis {
    /// Name of the chain, at most 64 bytes.
    pub chain_id: ByteList<64>,
    /// Seconds since the Unix epoch.
    pub genesis_time: u64,
    /// Enforced limit of blobs per height, at most [`MAX_BLOBS_PER_BLOCK`].
    pub max_blobs_per_block: u64,
    /// How many heights below the head every node keeps blobs for.
    pub blob_retention_heights: u64,
    /// The set that signs height 1.
    pub validators: ValidatorSet,
    /// Hash of the execution chain's genesis block.
    pub execution_block_hash: Bytes32,
    /// Timestamp from which payloads are Cancun's.
    pub cancun_time: u64,
    /// Timestamp from which payloads are Prague's.
    pub prague_time: u64,
}

ssz_container!(Genesis {
    chain_id: ByteList<64>,
    genesis_time: u64,
    max_blobs_per_block: u64,
    blob_retention_heights: u64,
    validators: ValidatorSet,
    execution_block_hash: Bytes32,
    cancun_time: u64,
    prague_time: u64,
});

/// What is wrong with a genesis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GenesisFault {
    /// The validator set is not a legal one.
    #[error("{0}")]
    Validators(#[from] ValidatorSetFault),
    /// The blob limit is above what the containers can hold.
    #[error("max_blobs_per_block is {0}, the protocol allows at most {MAX_BLOBS_PER_BLOCK}")]
    TooManyBlobs(u64),
    /// No height could ever be served.
    #[error("blob_retention_heights must be at least 1")]
    NoRetention,
    /// Forks out of order.
    #[error("prague_time {prague} is before cancun_time {cancun}")]
    ForkOrder {
        /// Timestamp of Cancun.
        cancun: u64,
        /// Timestamp of Prague.
        prague: u64,
    },
}

impl Genesis {
    /// The chain's name in handshakes and signatures: the hash tree root.
    pub fn id(&self) -> Bytes32 {
        ssz::hash_tree_root(self)
    }

    /// Checks what the SSZ types cannot.
    ///
    /// # Errors
    /// The first [`GenesisFault`] found.
    pub fn check(&self) -> Result<(), GenesisFault> {
        self.validators.check()?;
        if self.max_blobs_per_block > MAX_BLOBS_PER_BLOCK as u64 {
            return Err(GenesisFault::TooManyBlobs(self.max_blobs_per_block));
        }
        if self.blob_retention_heights == 0 {
            return Err(GenesisFault::NoRetention);
        }
        if self.prague_time < self.cancun_time {
            return Err(GenesisFault::ForkOrder { cancun: self.cancun_time, prague: self.prague_time });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
