//! Blob transactions: as a block holds them, and as a client's pool takes them.

use std::num::NonZeroU64;

use alloy_consensus::{EthereumTxEnvelope, TxEip4844};
use alloy_eips::{eip2718::Encodable2718, eip4844::BYTES_PER_BLOB};
use alloy_primitives::{B256, Bytes};
use alloy_rlp::{Header, encode_list, list_length};
use k256::ecdsa::Error as EcdsaError;

use super::account::Account;

/// Gas of a transfer without data (yellow paper, `G_transaction`).
pub(super) const TRANSFER_GAS: u64 = 21_000;
/// Tip per gas in wei.
const PRIORITY_FEE: u128 = 1_000_000_000;

/// What the signer offers to pay, in wei.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fees {
    /// Per gas, beside the tip.
    pub base_fee: u128,
    /// Per blob gas.
    pub blob_base_fee: u128,
}

/// Signs blob transactions for one chain with one account.
#[derive(Clone, Debug)]
pub struct BlobSender {
    chain_id: u64,
    per_transaction: NonZeroU64,
    account: Account,
}

/// A blob as it goes with a transaction to a pool.
#[derive(Clone, Copy, Debug)]
pub struct SentBlob<'a> {
    /// 131,072 bytes.
    pub blob: &'a [u8],
    /// KZG commitment, 48 bytes.
    pub commitment: &'a [u8],
    /// KZG proof for the whole blob, 48 bytes.
    pub proof: &'a [u8],
}

impl BlobSender {
    /// A signer for the chain with EIP-155 id `chain_id`, whose transactions carry up to `per_transaction` blobs.
    #[must_use]
    pub fn new(chain_id: u64, per_transaction: NonZeroU64, account: Account) -> Self {
        Self { chain_id, per_transaction, account }
    }

    /// Transactions for blobs with these versioned hashes, in order, with ascending nonces. `None` when nonces end.
    ///
    /// # Errors
    /// If a transaction cannot be signed.
    pub fn transactions(
        &self,
        first_nonce: u64,
        versioned_hashes: &[B256],
        fees: Fees,
    ) -> Result<Option<Vec<EthereumTxEnvelope<TxEip4844>>>, EcdsaError> {
        let mut nonce = Some(first_nonce);
        let mut transactions = Vec::with_capacity(versioned_hashes.len().div_ceil(self.per_transaction()));
        for hashes in versioned_hashes.chunks(self.per_transaction()) {
            let Some(this_nonce) = nonce else { return Ok(None) };
            transactions.push(self.account.sign(self.transaction(this_nonce, hashes, fees))?);
            nonce = this_nonce.checked_add(1);
        }
        Ok(Some(transactions))
    }

    /// Most blobs in a transaction.
    #[must_use]
    pub fn per_transaction(&self) -> usize {
        usize::try_from(self.per_transaction.get()).unwrap_or(usize::MAX)
    }

    /// A transfer of nothing from the account to itself that brings blobs along.
    fn transaction(&self, nonce: u64, versioned_hashes: &[B256], fees: Fees) -> TxEip4844 {
        TxEip4844 {
            chain_id: self.chain_id,
            nonce,
            gas_limit: TRANSFER_GAS,
            max_fee_per_gas: fees.base_fee.saturating_add(PRIORITY_FEE),
            max_priority_fee_per_gas: PRIORITY_FEE,
            to: self.account.address(),
            blob_versioned_hashes: versioned_hashes.to_vec(),
            max_fee_per_blob_gas: fees.blob_base_fee,
            ..TxEip4844::default()
        }
    }
}

/// The form of a blob transaction that `eth_sendRawTransaction` takes (EIP-4844, networking): its type, and the list of
/// the signed transaction, the blobs, their commitments and their proofs.
#[must_use]
pub fn with_sidecar(transaction: &EthereumTxEnvelope<TxEip4844>, blobs: &[SentBlob<'_>]) -> Bytes {
    let encoded = transaction.encoded_2718();
    // What follows the type byte is the list of fields and signature.
    let (kind, signed) = encoded.split_at(encoded.len().min(1));
    let parts: [Vec<&[u8]>; 3] = [
        blobs.iter().map(|blob| blob.blob).collect(),
        blobs.iter().map(|blob| blob.commitment).collect(),
        blobs.iter().map(|blob| blob.proof).collect(),
    ];
    let payload_length = signed.len() + parts.iter().map(|part| list_length::<&[u8], [u8]>(part)).sum::<usize>();
    let mut out = Vec::with_capacity(payload_length.saturating_add(BYTES_PER_BLOB / 1024));
    out.extend_from_slice(kind);
    Header { list: true, payload_length }.encode(&mut out);
    out.extend_from_slice(signed);
    parts.iter().for_each(|part| encode_list::<&[u8], [u8]>(part, &mut out));
    out.into()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use alloy_primitives::hex;

    use super::*;

    fn sender() -> BlobSender {
        BlobSender::new(1337, NonZeroU64::new(2).unwrap(), Account::development().unwrap())
    }

    #[test]
    fn nonces_end_where_their_type_does() {
        let hashes = [B256::ZERO; 3];
        let fees = Fees { base_fee: 1, blob_base_fee: 1 };
        assert_eq!(sender().transactions(u64::MAX, &hashes, fees).unwrap(), None);
        assert_eq!(sender().transactions(u64::MAX - 1, &hashes, fees).unwrap().unwrap().len(), 2);
    }

    #[test]
    fn a_pool_gets_the_transaction_and_three_lists_behind_one_type_byte() {
        let fees = Fees { base_fee: 1, blob_base_fee: 1 };
        let transaction = sender().transactions(0, &[B256::ZERO], fees).unwrap().unwrap().remove(0);
        let (blob, commitment, proof) = ([0xaa; 3], [0xbb; 2], [0xcc; 1]);
        let sent = SentBlob { blob: &blob, commitment: &commitment, proof: &proof };
        let wrapped = with_sidecar(&transaction, &[sent]);
        let signed = transaction.encoded_2718();
        let lists = hex!("c483aaaaaa" "c382bbbb" "c281cc");
        let length = u16::try_from(signed.len() - 1 + lists.len()).unwrap();
        assert!((56..=255).contains(&length), "the header below is for such a length");
        let expected = [&[3, 0xf8, length.to_be_bytes()[1]][..], &signed[1..], &lists].concat();
        assert_eq!(wrapped, expected);
    }
}
