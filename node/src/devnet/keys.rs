//! Validator keys of a development network, and what they sign.

use std::fmt;

use ed25519_consensus::SigningKey;
use lapis_protocol_spec::{
    Address, Bytes32, Bytes64, CommitSignature, Height, Validator,
    certificate::{VoteKind, VoteSigningData},
};
use sha2::{Digest, Sha256};

/// An ed25519 key pair. Printing it shows the address alone.
#[derive(Clone)]
pub struct ValidatorKey {
    signing: SigningKey,
    address: Address,
}

impl fmt::Debug for ValidatorKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ValidatorKey({})", self.address)
    }
}

impl ValidatorKey {
    /// The key of validator `index` of the network that `seed` stands for. Whoever knows the seed knows the key.
    #[must_use]
    pub fn derive(seed: &[u8; 32], index: u64) -> Self {
        let secret = Sha256::new().chain_update(b"lapis/devnet/validator").chain_update(seed);
        Self::from_secret(secret.chain_update(index.to_le_bytes()).finalize().into())
    }

    /// The key of an ed25519 seed (RFC 8032).
    #[must_use]
    pub fn from_secret(secret: [u8; 32]) -> Self {
        let signing = SigningKey::from(secret);
        let public_key = signing.verification_key().to_bytes().into();
        Self { address: Validator { public_key, power: 0 }.address(), signing }
    }

    /// The public key.
    #[must_use]
    pub fn public_key(&self) -> Bytes32 {
        self.signing.verification_key().to_bytes().into()
    }

    /// The first 20 bytes of the sha256 of the public key.
    #[must_use]
    pub fn address(&self) -> Address {
        self.address
    }

    /// The entry for this key in a validator set.
    #[must_use]
    pub fn validator(&self, power: u64) -> Validator {
        Validator { public_key: self.public_key(), power }
    }

    /// Signs a vote of any content. Keeps no record: [`Voter`](super::vote::Voter) is what votes only once.
    #[must_use]
    pub fn sign(
        &self,
        genesis_id: Bytes32,
        kind: VoteKind,
        height: Height,
        round: u64,
        value_id: Bytes32,
    ) -> CommitSignature {
        let message = VoteSigningData::signing_bytes(genesis_id, kind, height, round, value_id);
        CommitSignature { address: self.address, signature: Bytes64::from(self.signing.sign(&message).to_bytes()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_follow_from_seed_and_index() {
        let key = ValidatorKey::derive(&[7; 32], 1);
        assert_eq!(key.public_key(), ValidatorKey::derive(&[7; 32], 1).public_key());
        assert_ne!(key.public_key(), ValidatorKey::derive(&[7; 32], 2).public_key());
        assert_ne!(key.public_key(), ValidatorKey::derive(&[8; 32], 1).public_key());
        assert_eq!(key.address(), key.validator(1).address());
    }

    #[test]
    fn printing_a_key_does_not_show_its_secret() {
        let key = ValidatorKey::from_secret([0xab; 32]);
        assert_eq!(format!("{key:?}"), format!("ValidatorKey({})", key.address()));
    }
}
