//! Commit certificates: when a value is decided.

mod run;

use std::collections::{HashMap, HashSet};

use ed25519_consensus::{Signature, VerificationKey};
use sha2::{Digest, Sha256};
use ssz_rs::prelude::*;

use crate::{
    Address, Bytes20, Bytes32, Bytes64, Height, MAX_VALIDATORS, Validator, ValidatorSet, ValidatorSetFault, Value,
    Verified, container::ssz_container, ssz,
};

pub use self::run::VerifiedRun;

/// Domain of vote signatures: the sha256 of this text.
pub const VOTE_DOMAIN: &str = "lapis/vote/1";

/// One validator's precommit.
#[derive(Clone, Debug, Default, PartialEq, Eq, SimpleSerialize)]
pub struct CommitSignature {
    /// Who signed.
    pub address: Bytes20,
    /// ed25519 signature over the SSZ bytes of [`VoteSigningData`].
    pub signature: Bytes64,
}

/// Precommits for one value in one round.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommitCertificate {
    /// Height of the value.
    pub height: u64,
    /// Round in which it was decided.
    pub round: u64,
    /// Id of the value.
    pub value_id: Bytes32,
    /// The precommits.
    pub signatures: List<CommitSignature, MAX_VALIDATORS>,
}

ssz_container!(CommitCertificate {
    height: u64,
    round: u64,
    value_id: Bytes32,
    signatures: List<CommitSignature, MAX_VALIDATORS>,
});

/// A value with the certificate that decides it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DecidedValue {
    /// The value.
    pub value: Value,
    /// Its certificate.
    pub certificate: CommitCertificate,
}

ssz_container!(DecidedValue { value: Value, certificate: CommitCertificate });

/// Which vote a signature is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VoteKind {
    /// First step of a round.
    Prevote,
    /// Second step: what certificates are made of.
    Precommit,
}

/// What a vote's signature signs: the SSZ bytes of this container.
#[derive(Clone, Debug, Default, PartialEq, Eq, SimpleSerialize)]
pub struct VoteSigningData {
    /// sha256 of [`VOTE_DOMAIN`].
    pub domain: Bytes32,
    /// The chain.
    pub genesis_id: Bytes32,
    /// 1 prevote, 2 precommit.
    pub kind: u8,
    /// Height voted on.
    pub height: u64,
    /// Round voted in.
    pub round: u64,
    /// Id of the value voted for.
    pub value_id: Bytes32,
}

impl VoteSigningData {
    /// The bytes that a vote signs.
    pub fn signing_bytes(
        genesis_id: Bytes32,
        kind: VoteKind,
        height: Height,
        round: u64,
        value_id: Bytes32,
    ) -> Vec<u8> {
        let kind = match kind {
            VoteKind::Prevote => 1,
            VoteKind::Precommit => 2,
        };
        let domain = <[u8; 32]>::from(Sha256::digest(VOTE_DOMAIN)).into();
        ssz::encode(&Self { domain, genesis_id, kind, height, round, value_id })
    }
}

/// What the next decided value must attach to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainLink {
    /// Height of the tip; the next value's is one more.
    pub height: Height,
    /// Id of the tip's value, zero at genesis.
    pub value_id: Bytes32,
    /// Root of the set that signs the next height.
    pub next_validators_root: Bytes32,
    /// Execution block hash of the tip.
    pub block_hash: Bytes32,
    /// Timestamp of the tip in seconds; the next value's is later.
    pub timestamp: u64,
}

impl ChainLink {
    /// The link that the first height attaches to.
    pub fn genesis(genesis: &crate::Genesis) -> Self {
        Self {
            height: 0,
            value_id: Bytes32::ZERO,
            next_validators_root: genesis.validators.root(),
            block_hash: genesis.execution_block_hash,
            timestamp: genesis.genesis_time,
        }
    }

    /// The link that the successor of `value` attaches to; `value_id` is [`Value::id`] of it.
    pub fn after(value: &Value, value_id: Bytes32) -> Self {
        Self {
            height: value.height,
            value_id,
            next_validators_root: value.next_validators_root,
            block_hash: value.block_hash,
            timestamp: value.timestamp,
        }
    }
}

/// Why a decided value is not believed. The sender's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateFault {
    /// Not the height after the tip.
    #[error("height {found} does not follow the tip, expected {expected}")]
    Height {
        /// Height of the value.
        found: Height,
        /// Height expected.
        expected: Height,
    },
    /// The certificate is for another height than the value.
    #[error("the certificate is for height {certificate}, the value is at {value}")]
    CertificateHeight {
        /// Height in the certificate.
        certificate: Height,
        /// Height in the value.
        value: Height,
    },
    /// The certificate is for another value.
    #[error("the certificate is for another value")]
    CertificateValue,
    /// Does not name the tip as its parent.
    #[error("parent_value_id is not the id of the previous value")]
    ParentValue,
    /// The execution block does not attach to the tip's.
    #[error("parent_block_hash is not the block hash of the previous value")]
    ParentBlock,
    /// Time did not advance.
    #[error("timestamp {found} is not after the parent's {parent}")]
    Timestamp {
        /// Timestamp of the value.
        found: u64,
        /// Timestamp of its parent.
        parent: u64,
    },
    /// More blobs than the chain's genesis allows.
    #[error("{found} blobs, the chain allows {limit}")]
    TooManyBlobs {
        /// Blobs of the value.
        found: u64,
        /// The chain's limit.
        limit: u64,
    },
    /// Signed by another set than the one that the previous value names.
    #[error("validators_root is not the previous value's next_validators_root")]
    ValidatorsRoot,
    /// The set at hand is not the one that `validators_root` names: the caller must find that set first.
    #[error("the validator set at hand is not the one that signs")]
    OtherSet,
    /// The set that signs is not a legal one, so nothing can be decided by it.
    #[error("the validator set that signs is not legal: {0}")]
    IllegalSet(#[from] ValidatorSetFault),
    /// Somebody outside the set signed.
    #[error("signer {0} is not in the validator set")]
    UnknownSigner(Address),
    /// Somebody signed twice.
    #[error("signer {0} appears twice")]
    DuplicateSigner(Address),
    /// A signature does not verify.
    #[error("the signature of {0} does not verify")]
    Signature(Address),
    /// Two thirds of the power or less.
    #[error("signed by {signed} of {total} power, more than two thirds are needed")]
    Power {
        /// Power that signed.
        signed: u64,
        /// Power of the whole set.
        total: u64,
    },
}

/// Bytes of an encoded `Value` without commitments.
const VALUE_FIXED_BYTES: usize = 2 * 8 + 20 + 8 + 7 * 32 + 4;
/// Bytes of an encoded certificate without signatures.
const CERTIFICATE_FIXED_BYTES: usize = 8 + 8 + 32 + 4;
/// Bytes of a commitment in a value.
const COMMITMENT_BYTES: usize = 48;
/// Bytes of a signature in a certificate, with its signer's address.
const COMMIT_SIGNATURE_BYTES: usize = 20 + 64;

impl DecidedValue {
    /// Bytes of the SSZ encoding, without encoding it.
    pub fn encoded_len(&self) -> usize {
        Self::encoded_len_of(self.value.blob_count(), self.certificate.signatures.len())
    }

    /// Bytes of the SSZ encoding of a value with so many commitments and signatures: two offsets and the parts.
    pub(crate) const fn encoded_len_of(commitments: usize, signatures: usize) -> usize {
        let value = VALUE_FIXED_BYTES + COMMITMENT_BYTES * commitments;
        let certificate = CERTIFICATE_FIXED_BYTES + COMMIT_SIGNATURE_BYTES * signatures;
        2 * 4 + value + certificate
    }

    /// Checks the certificate alone: it is for this value, and more than two thirds of `signers`, a legal set, signed it.
    ///
    /// This shows that a value was decided, not that it attaches to a chain: enough to forward an announcement, not to
    /// store it (see [`DecidedValue::verify`]). Returns the value's id.
    ///
    /// # Errors
    /// The first [`CertificateFault`] found; cheap comparisons before signatures.
    pub fn check_certificate(&self, genesis_id: &Bytes32, signers: &ValidatorSet) -> Result<Bytes32, CertificateFault> {
        let signers = Signers::new(signers);
        let value_id = self.check_signers(&signers)?;
        self.certificate.check_signatures(&self.certificate.message(genesis_id), &signers)?;
        Ok(value_id)
    }

    /// Checks that the value attaches to `tip`, obeys `max_blobs`, and is certified by `signers`.
    ///
    /// # Errors
    /// The first [`CertificateFault`] found; cheap comparisons before signatures.
    pub fn verify(
        self,
        genesis_id: &Bytes32,
        max_blobs: u64,
        tip: &ChainLink,
        signers: &ValidatorSet,
    ) -> Result<Verified<Self>, CertificateFault> {
        self.value.check_place(max_blobs, tip)?;
        let value_id = self.check_certificate(genesis_id, signers)?;
        Ok(Verified::new(self, value_id))
    }

    /// All of a certificate but its signatures: it is for this value, whose set is `signers`, and enough of them are
    /// named. Returns the value's id.
    fn check_signers(&self, signers: &Signers<'_>) -> Result<Bytes32, CertificateFault> {
        let certificate = &self.certificate;
        if certificate.height != self.value.height {
            return Err(CertificateFault::CertificateHeight {
                certificate: certificate.height,
                value: self.value.height,
            });
        }
        let value_id = self.value.id();
        if certificate.value_id != value_id {
            return Err(CertificateFault::CertificateValue);
        }
        if signers.root != self.value.validators_root {
            return Err(CertificateFault::OtherSet);
        }
        signers.legal?;
        certificate.check_power(signers)?;
        Ok(value_id)
    }
}

/// A validator set with what every certificate is held against, computed once.
struct Signers<'a> {
    root: Bytes32,
    legal: Result<(), ValidatorSetFault>,
    members: HashMap<Address, &'a Validator>,
    total_power: u64,
}

impl<'a> Signers<'a> {
    fn new(set: &'a ValidatorSet) -> Self {
        Self { root: set.root(), legal: set.check(), members: set.by_address(), total_power: set.total_power() }
    }

    fn member(&self, address: &Address) -> Result<&'a Validator, CertificateFault> {
        self.members.get(address).copied().ok_or(CertificateFault::UnknownSigner(*address))
    }
}

impl Value {
    /// Checks that this value attaches to `tip`.
    ///
    /// # Errors
    /// The first [`CertificateFault`] found.
    pub fn check_link(&self, tip: &ChainLink) -> Result<(), CertificateFault> {
        if tip.height.checked_add(1) != Some(self.height) {
            return Err(CertificateFault::Height { found: self.height, expected: tip.height.saturating_add(1) });
        }
        if self.parent_value_id != tip.value_id {
            return Err(CertificateFault::ParentValue);
        }
        if self.validators_root != tip.next_validators_root {
            return Err(CertificateFault::ValidatorsRoot);
        }
        if self.parent_block_hash != tip.block_hash {
            return Err(CertificateFault::ParentBlock);
        }
        if self.timestamp <= tip.timestamp {
            return Err(CertificateFault::Timestamp { found: self.timestamp, parent: tip.timestamp });
        }
        Ok(())
    }

    /// Checks that this value attaches to `tip` and has no more blobs than the chain allows.
    fn check_place(&self, max_blobs: u64, tip: &ChainLink) -> Result<(), CertificateFault> {
        self.check_link(tip)?;
        let found = self.blob_count() as u64;
        if found > max_blobs {
            return Err(CertificateFault::TooManyBlobs { found, limit: max_blobs });
        }
        Ok(())
    }
}

impl CommitCertificate {
    /// What its signatures sign.
    fn message(&self, genesis_id: &Bytes32) -> Vec<u8> {
        VoteSigningData::signing_bytes(*genesis_id, VoteKind::Precommit, self.height, self.round, self.value_id)
    }

    /// Who signed, once each, all in the set; then power.
    fn check_power(&self, signers: &Signers<'_>) -> Result<(), CertificateFault> {
        let mut seen = HashSet::with_capacity(self.signatures.len());
        let mut signed = 0_u64;
        for CommitSignature { address, .. } in self.signatures.iter() {
            let validator = signers.member(address)?;
            if !seen.insert(*address) {
                return Err(CertificateFault::DuplicateSigner(*address));
            }
            signed = signed.saturating_add(validator.power);
        }
        let total = signers.total_power;
        if u128::from(signed) * 3 <= u128::from(total) * 2 {
            return Err(CertificateFault::Power { signed, total });
        }
        Ok(())
    }

    /// The dear part: each signature over `message`, alone.
    fn check_signatures(&self, message: &[u8], signers: &Signers<'_>) -> Result<(), CertificateFault> {
        for CommitSignature { address, signature } in self.signatures.iter() {
            VerificationKey::try_from(signers.member(address)?.public_key.0)
                .and_then(|key| key.verify(&Signature::from(signature.0), message))
                .map_err(|_| CertificateFault::Signature(*address))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
