//! Gas and fee arithmetic from one header to the next.

use std::num::NonZeroU64;

use alloy_eips::{
    eip1559::{BaseFeeParams, calc_next_block_base_fee},
    eip4844::{BLOB_GASPRICE_UPDATE_FRACTION, BLOB_TX_MIN_BLOB_GASPRICE, DATA_GAS_PER_BLOB, fake_exponential},
};

use super::ParentBlock;

/// Blobs that one transaction carries where nothing else is asked for: Cancun's limit per block, which every client's
/// transaction pool takes.
pub const DEFAULT_BLOBS_PER_TRANSACTION: NonZeroU64 = NonZeroU64::new(6).unwrap();

/// The chain's own EIP-4844 numbers, which need not be mainnet's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlobSchedule {
    /// Blobs per block that leave the blob base fee as it is.
    pub target: u64,
    /// Most blobs per block.
    pub max: u64,
    /// Most blobs per transaction.
    pub per_transaction: NonZeroU64,
    /// Divisor of the excess in the blob base fee's exponent.
    pub base_fee_update_fraction: u128,
}

impl BlobSchedule {
    /// A schedule with the target at the limit: however full the blocks are, the blob base fee stays at 1 wei. A chain of
    /// full blocks needs that, because above the target the fee grows exponentially and without end.
    #[must_use]
    pub fn flat(max: u64) -> Self {
        Self {
            target: max,
            max,
            per_transaction: DEFAULT_BLOBS_PER_TRANSACTION,
            base_fee_update_fraction: BLOB_GASPRICE_UPDATE_FRACTION,
        }
    }

    /// `excess_blob_gas` of the block after `parent` (EIP-4844, `calc_excess_blob_gas`).
    #[must_use]
    pub fn next_excess_blob_gas(&self, parent: &ParentBlock) -> u64 {
        let target = self.target.saturating_mul(DATA_GAS_PER_BLOB);
        parent.excess_blob_gas.saturating_add(parent.blob_gas_used).saturating_sub(target)
    }

    /// Blob base fee in wei at an excess (EIP-4844, `get_base_fee_per_blob_gas`); `None` where it is beyond all bounds or
    /// the update fraction is zero.
    #[must_use]
    pub fn blob_base_fee(&self, excess_blob_gas: u64) -> Option<u128> {
        if self.base_fee_update_fraction == 0 {
            return None;
        }
        let excess = u128::from(excess_blob_gas);
        let fee = fake_exponential(BLOB_TX_MIN_BLOB_GASPRICE, excess, self.base_fee_update_fraction);
        (fee < u128::MAX).then_some(fee)
    }
}

/// Base fee per gas in wei of the block after `parent` (EIP-1559).
pub(super) fn next_base_fee(parent: &ParentBlock) -> u64 {
    calc_next_block_base_fee(parent.gas_used, parent.gas_limit, parent.base_fee_per_gas, BaseFeeParams::ethereum())
}
