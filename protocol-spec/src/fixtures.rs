//! A small chain with real keys and real proofs, for the tests of this crate.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock},
};

use ed25519_consensus::SigningKey;

use crate::{
    Address, Blob, BlobSidecar, ByteList, Bytes32, ChainLink, CommitCertificate, CommitSignature, DecidedValue,
    Genesis, IdentifiedValue, Kzg, Validator, ValidatorSet, Value,
    certificate::{VoteKind, VoteSigningData},
};

pub(crate) static KZG: LazyLock<Kzg> = LazyLock::new(|| Kzg::mainnet().unwrap());

/// Eight real blobs with commitments and proofs, at height 7.
pub(crate) static SIDECARS: LazyLock<Vec<BlobSidecar>> = LazyLock::new(|| (0..8).map(sidecar).collect());

fn sidecar(index: u64) -> BlobSidecar {
    let blob = blob(index);
    let kzg_commitment = KZG.commit(&blob).unwrap();
    let kzg_proof = KZG.prove(&blob, &kzg_commitment).unwrap();
    BlobSidecar { height: 7, index, kzg_commitment, kzg_proof, blob }
}

/// The blob whose field element `i` is `seed * 2^32 + i`.
pub(crate) fn blob(seed: u64) -> Blob {
    let bytes: Vec<u8> = (0..4096).flat_map(|i| u256((seed << 32) + i)).collect();
    Blob::from_slice(&bytes).unwrap()
}

fn u256(number: u64) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[24..].copy_from_slice(&number.to_be_bytes());
    bytes
}

/// A value at `height` that commits to `SIDECARS[index]` for each of `indices`.
pub(crate) fn value_with_blobs(height: u64, indices: &[usize]) -> IdentifiedValue {
    let commitments: Vec<_> = indices.iter().map(|index| SIDECARS[*index].kzg_commitment).collect();
    let blob_kzg_commitments = commitments.try_into().unwrap();
    IdentifiedValue::new(Arc::new(Value { height, blob_kzg_commitments, ..Value::default() }))
}

/// Keys of validators, and the set that they form.
pub(crate) struct Committee {
    pub(crate) set: ValidatorSet,
    keys: BTreeMap<Address, SigningKey>,
}

impl Committee {
    /// Validators with the keys of `seeds` and their powers.
    pub(crate) fn new(members: &[(u8, u64)]) -> Self {
        let mut keys = BTreeMap::new();
        let validators = members.iter().map(|(seed, power)| {
            let key = SigningKey::from([*seed; 32]);
            let validator = Validator { public_key: Bytes32::from(key.verification_key().to_bytes()), power: *power };
            keys.insert(validator.address(), key);
            validator
        });
        let set = ValidatorSet::new(validators.collect()).unwrap();
        Self { set, keys }
    }

    /// `count` validators of power 1.
    pub(crate) fn equal(count: u8) -> Self {
        Self::new(&(1..=count).map(|seed| (seed, 1)).collect::<Vec<_>>())
    }

    /// The member at `position` of the set.
    pub(crate) fn address(&self, position: usize) -> Address {
        self.set.validators[position].address()
    }

    pub(crate) fn sign(&self, signer: Address, message: &[u8]) -> CommitSignature {
        CommitSignature { address: signer, signature: self.keys[&signer].sign(message).to_bytes().into() }
    }

    /// `value` with the precommits, in round 3, of the members at `signers`.
    pub(crate) fn decide(&self, genesis_id: Bytes32, value: Value, signers: &[usize]) -> DecidedValue {
        let (height, round, value_id) = (value.height, 3, value.id());
        let message = VoteSigningData::signing_bytes(genesis_id, VoteKind::Precommit, height, round, value_id);
        let signatures: Vec<_> = signers.iter().map(|at| self.sign(self.address(*at), &message)).collect();
        let signatures = signatures.try_into().unwrap();
        DecidedValue { value, certificate: CommitCertificate { height, round, value_id, signatures } }
    }
}

/// The genesis of a chain that `validators` start.
pub(crate) fn genesis(validators: &ValidatorSet) -> Genesis {
    Genesis {
        chain_id: ByteList::new(&b"lapis-test"[..]).unwrap(),
        genesis_time: 1_700_000_000,
        max_blobs_per_block: 6,
        blob_retention_heights: 4096,
        validators: validators.clone(),
        execution_block_hash: [0xee; 32].into(),
        cancun_time: 0,
        prague_time: 0,
    }
}

/// A value that follows `tip` and hands over to `next`.
pub(crate) fn successor(tip: &ChainLink, next: &ValidatorSet) -> Value {
    Value {
        height: tip.height + 1,
        timestamp: tip.timestamp + 1,
        parent_value_id: tip.value_id,
        validators_root: tip.next_validators_root,
        next_validators_root: next.root(),
        block_hash: [u8::try_from(tip.height % 251).unwrap(); 32].into(),
        parent_block_hash: tip.block_hash,
        ..Value::default()
    }
}
