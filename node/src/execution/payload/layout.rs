//! Bounds of an SSZ `ExecutionPayloadV3`, checked on its fixed part before anything is decoded.
//!
//! The decoder reserves room by the number of list items that the bytes announce; these checks make that number small
//! and honest first. Limits are those of the consensus specifications
//! (<https://github.com/ethereum/consensus-specs/blob/dev/specs/deneb/beacon-chain.md#executionpayload>).

/// Length of the fixed part in bytes; the first variable field starts there.
pub(super) const FIXED_BYTES: usize = 528;
/// Where the fixed part keeps the offset of `extra_data`.
const EXTRA_DATA_OFFSET_AT: usize = 436;
/// Where the fixed part keeps the offset of `transactions`.
const TRANSACTIONS_OFFSET_AT: usize = 504;
/// Where the fixed part keeps the offset of `withdrawals`.
const WITHDRAWALS_OFFSET_AT: usize = 508;
/// `MAX_EXTRA_DATA_BYTES`.
const MAX_EXTRA_DATA_BYTES: usize = 32;
/// `MAX_TRANSACTIONS_PER_PAYLOAD`.
const MAX_TRANSACTIONS: usize = 1 << 20;
/// `MAX_WITHDRAWALS_PER_PAYLOAD`.
const MAX_WITHDRAWALS: usize = 16;
/// An SSZ `Withdrawal`: index, validator index, address, amount.
const WITHDRAWAL_BYTES: usize = 8 + 8 + 20 + 8;
/// An SSZ offset.
const OFFSET_BYTES: usize = 4;

/// The bytes cannot be an `ExecutionPayloadV3` within its bounds. All figures are bytes or items.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LayoutFault {
    /// Shorter than the fixed part.
    #[error("payload of {length} bytes is shorter than its fixed part of {FIXED_BYTES}")]
    Short {
        /// Length of the payload.
        length: usize,
    },
    /// The three offsets do not split the variable part.
    #[error("offsets {extra_data}, {transactions}, {withdrawals} do not split a payload of {length} bytes")]
    Offsets {
        /// Start of `extra_data`.
        extra_data: usize,
        /// Start of `transactions`.
        transactions: usize,
        /// Start of `withdrawals`.
        withdrawals: usize,
        /// Length of the payload.
        length: usize,
    },
    /// `extra_data` is over 32 bytes.
    #[error("extra data of {length} bytes is over {MAX_EXTRA_DATA_BYTES}")]
    ExtraData {
        /// Its length.
        length: usize,
    },
    /// The list of transactions announces no possible number of them.
    #[error("a list of transactions of {length} bytes cannot hold {count} (at most {MAX_TRANSACTIONS})")]
    Transactions {
        /// Transactions announced by the list's first offset.
        count: usize,
        /// Length of the list.
        length: usize,
    },
    /// The list of withdrawals is not 0 to 16 whole ones.
    #[error("{length} bytes are not a list of at most {MAX_WITHDRAWALS} withdrawals")]
    Withdrawals {
        /// Length of the list.
        length: usize,
    },
}

/// Checks length, offsets and list bounds of an SSZ `ExecutionPayloadV3`.
pub(super) fn check_bounds(payload: &[u8]) -> Result<(), LayoutFault> {
    let length = payload.len();
    let short = LayoutFault::Short { length };
    if length < FIXED_BYTES {
        return Err(short);
    }
    let extra_data = offset_at(payload, EXTRA_DATA_OFFSET_AT).ok_or(short)?;
    let transactions = offset_at(payload, TRANSACTIONS_OFFSET_AT).ok_or(short)?;
    let withdrawals = offset_at(payload, WITHDRAWALS_OFFSET_AT).ok_or(short)?;
    let offsets = LayoutFault::Offsets { extra_data, transactions, withdrawals, length };
    if extra_data != FIXED_BYTES {
        return Err(offsets);
    }
    let extra_data = payload.get(extra_data..transactions).ok_or(offsets)?;
    let transactions = payload.get(transactions..withdrawals).ok_or(offsets)?;
    let withdrawals = payload.get(withdrawals..).ok_or(offsets)?;
    check_lists(extra_data, transactions, withdrawals)
}

fn check_lists(extra_data: &[u8], transactions: &[u8], withdrawals: &[u8]) -> Result<(), LayoutFault> {
    if extra_data.len() > MAX_EXTRA_DATA_BYTES {
        return Err(LayoutFault::ExtraData { length: extra_data.len() });
    }
    if !withdrawals.len().is_multiple_of(WITHDRAWAL_BYTES) || withdrawals.len() > MAX_WITHDRAWALS * WITHDRAWAL_BYTES {
        return Err(LayoutFault::Withdrawals { length: withdrawals.len() });
    }
    if transactions.is_empty() {
        return Ok(());
    }
    let length = transactions.len();
    let first = offset_at(transactions, 0).ok_or(LayoutFault::Transactions { count: 0, length })?;
    let count = first / OFFSET_BYTES;
    let possible = first.is_multiple_of(OFFSET_BYTES) && first > 0 && first <= length && count <= MAX_TRANSACTIONS;
    if possible { Ok(()) } else { Err(LayoutFault::Transactions { count, length }) }
}

/// The little-endian SSZ offset that starts at byte `at`.
fn offset_at(bytes: &[u8], at: usize) -> Option<usize> {
    let offset = bytes.get(at..)?.first_chunk::<OFFSET_BYTES>()?;
    usize::try_from(u32::from_le_bytes(*offset)).ok()
}
