//! The account that signs a development network's blob transactions.

use alloy_consensus::{EthereumTxEnvelope, SignableTransaction, TxEip4844};
use alloy_primitives::{Address, Signature, hex};
use k256::ecdsa::{Error as EcdsaError, SigningKey};

/// The first account of the mnemonic "test test test test test test test test test test test junk", which every Ethereum
/// development tool knows. It guards nothing.
const DEVELOPMENT_KEY: [u8; 32] = hex!("ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80");

/// A secp256k1 key pair that signs transactions.
#[derive(Clone, Debug)]
pub struct Account {
    key: SigningKey,
    address: Address,
}

impl Account {
    /// The publicly known development account.
    ///
    /// # Errors
    /// None in practice: the built-in key is a valid scalar.
    pub fn development() -> Result<Self, EcdsaError> {
        Self::from_secret(&DEVELOPMENT_KEY)
    }

    /// The account of a secret scalar, big endian.
    ///
    /// # Errors
    /// If the scalar is zero or not below the group's order.
    pub fn from_secret(secret: &[u8; 32]) -> Result<Self, EcdsaError> {
        let key = SigningKey::from_slice(secret)?;
        let address = Address::from_public_key(key.verifying_key());
        Ok(Self { key, address })
    }

    /// The account's address.
    #[must_use]
    pub fn address(&self) -> Address {
        self.address
    }

    /// Signs a blob transaction; deterministic (RFC 6979), low `s` (EIP-2).
    pub(super) fn sign(&self, transaction: TxEip4844) -> Result<EthereumTxEnvelope<TxEip4844>, EcdsaError> {
        let hash = transaction.signature_hash();
        let signature = Signature::from(self.key.sign_prehash_recoverable(hash.as_slice())?);
        Ok(EthereumTxEnvelope::Eip4844(transaction.into_signed(signature)))
    }
}
