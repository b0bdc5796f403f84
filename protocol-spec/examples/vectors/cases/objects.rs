//! The objects that the vectors are made of: one small chain.

use ed25519_consensus::SigningKey;
use lapis_protocol_spec::{
    Address, Blob, ByteList, Bytes32, Bytes48, ChainLink, CommitCertificate, CommitSignature, DecidedValue, Genesis,
    PayloadEnvelope, Validator, ValidatorSet, Value,
    certificate::{VoteKind, VoteSigningData},
    payload::requests_hash,
};
use sha2::{Digest, Sha256};

use super::Failure;

/// A validator: its ed25519 secret key is the seed, repeated 32 times.
pub(crate) struct Member {
    pub(crate) seed: u8,
    pub(crate) validator: Validator,
    key: SigningKey,
}

impl Member {
    pub(crate) fn new(seed: u8, power: u64) -> Self {
        let key = SigningKey::from([seed; 32]);
        let public_key = key.verification_key().to_bytes().into();
        Self { seed, validator: Validator { public_key, power }, key }
    }

    pub(crate) fn address(&self) -> Address {
        self.validator.address()
    }

    pub(crate) fn sign(&self, message: &[u8]) -> CommitSignature {
        CommitSignature { address: self.address(), signature: self.key.sign(message).to_bytes().into() }
    }
}

/// Members in the order of their addresses.
pub(crate) fn members(seeds_and_powers: &[(u8, u64)]) -> Vec<Member> {
    let mut members: Vec<Member> = seeds_and_powers.iter().map(|(seed, power)| Member::new(*seed, *power)).collect();
    members.sort_by_key(Member::address);
    members
}

pub(crate) fn set_of(members: &[Member]) -> Result<ValidatorSet, Failure> {
    Ok(ValidatorSet::new(members.iter().map(|member| member.validator.clone()).collect())?)
}

pub(crate) fn genesis(validators: ValidatorSet) -> Result<Genesis, Failure> {
    Ok(Genesis {
        chain_id: ByteList::new(&b"lapis-vectors"[..]).ok_or("chain id")?,
        genesis_time: 1_700_000_000,
        max_blobs_per_block: 6,
        blob_retention_heights: 4096,
        validators,
        execution_block_hash: [0xee; 32].into(),
        cancun_time: 1_700_000_000,
        prague_time: 1_700_001_000,
    })
}

/// 48 bytes that stand for a commitment where no proof is checked.
pub(crate) fn commitment(number: u8) -> Bytes48 {
    let mut bytes = [number; 48];
    bytes[0] = 0x80 | number;
    bytes.into()
}

/// A value that follows `tip` and hands over to `next`, with a payload of its own.
pub(crate) fn successor(tip: &ChainLink, next: &ValidatorSet, blobs: u8) -> Result<Value, Failure> {
    let height = tip.height.checked_add(1).ok_or("last height")?;
    let payload = payload_bytes(height);
    let commitments: Vec<Bytes48> = (0..blobs).map(commitment).collect();
    Ok(Value {
        height,
        timestamp: tip.timestamp.saturating_add(12),
        parent_value_id: tip.value_id,
        proposer: [0x77; 20].into(),
        validators_root: tip.next_validators_root,
        next_validators_root: next.root(),
        block_hash: sha256(&height.to_le_bytes()),
        parent_block_hash: tip.block_hash,
        payload_digest: sha256(&payload),
        payload_size: payload.len() as u64,
        requests_hash: requests_hash(REQUESTS.iter().copied()),
        blob_kzg_commitments: commitments.try_into().map_err(|_| "too many commitments")?,
    })
}

/// The execution requests of every value here.
const REQUESTS: [&[u8]; 2] = [&[0x00, 0xaa, 0xbb], &[0x01, 0xcc]];

/// Bytes that stand for an SSZ execution payload.
fn payload_bytes(height: u64) -> Vec<u8> {
    height.to_le_bytes().repeat(20)
}

/// The envelope that fits `value`.
pub(crate) fn envelope(value: &Value) -> Result<PayloadEnvelope, Failure> {
    let requests: Option<Vec<_>> = REQUESTS.iter().map(|request| ByteList::new(*request)).collect();
    let envelope = PayloadEnvelope {
        height: value.height,
        value_id: value.id(),
        payload: ByteList::new(payload_bytes(value.height)).ok_or("payload")?,
        execution_requests: requests.ok_or("request")?.try_into()?,
    };
    envelope.check(value)?;
    Ok(envelope)
}

/// `value` with the precommits of `signers` in `round`.
pub(crate) fn decide<'a>(
    genesis_id: Bytes32,
    value: Value,
    round: u64,
    signers: impl IntoIterator<Item = &'a Member>,
) -> Result<DecidedValue, Failure> {
    let (height, value_id) = (value.height, value.id());
    let message = VoteSigningData::signing_bytes(genesis_id, VoteKind::Precommit, height, round, value_id);
    let signatures: Vec<_> = signers.into_iter().map(|member| member.sign(&message)).collect();
    let signatures = signatures.try_into().map_err(|_| "too many signatures")?;
    Ok(DecidedValue { value, certificate: CommitCertificate { height, round, value_id, signatures } })
}

/// The blob whose field element `i` is `seed * 2^32 + i`.
pub(crate) fn blob(seed: u64) -> Result<Blob, Failure> {
    let mut bytes = Vec::new();
    for position in 0..4096_u64 {
        bytes.extend([0; 24]);
        bytes.extend(((seed << 32) + position).to_be_bytes());
    }
    Ok(Blob::from_slice(&bytes).ok_or("blob")?)
}

pub(crate) fn sha256(bytes: &[u8]) -> Bytes32 {
    <[u8; 32]>::from(Sha256::digest(bytes)).into()
}
