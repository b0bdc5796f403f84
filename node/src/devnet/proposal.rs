//! Building proposals: blobs, execution block, value, all through the gates.
//!
//! Pure: the tip comes in as an argument, and the same tip, round and blob count give the same proposal.

use std::sync::Arc;

use alloy_primitives::{Address as ExecutionAddress, B256};
use bytes::Bytes;
use lapis_protocol_spec::{
    BlobSidecar, ByteList, Bytes20, Bytes32, ChainLink, Height, IdentifiedValue, Kzg, Matched, PayloadEnvelope,
    PayloadFault, Value, Verified, gates::MatchFault, payload::ExecutionRequests, versioned_hash,
};
use sha2::{Digest, Sha256};
use ssz_rs::List;

use super::{
    blobs::{BlobFactory, CommittedBlob},
    clients::ClientFault,
    parallel::in_parts,
    spec::ChainSpec,
};
use crate::{
    execution::{BlockAttributes, BuildError, BuiltBlock, ParentBlock, RequestsFault},
    source::Proposal,
};

/// Blobs verified at a time, per thread: verification copies its batch, 8 MiB at this size.
const VERIFICATION_BATCH: usize = 64;

/// Where a chain stands: what the next proposal builds on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tip {
    /// What the next value attaches to.
    pub link: ChainLink,
    /// What the next execution block attaches to.
    pub execution: ParentBlock,
}

impl Tip {
    /// The tip before height 1.
    #[must_use]
    pub fn genesis(spec: &ChainSpec) -> Self {
        Self { link: ChainLink::genesis(spec.genesis()), execution: *spec.execution_genesis() }
    }

    /// The height that comes next.
    #[must_use]
    pub fn next_height(&self) -> Height {
        self.link.height.saturating_add(1)
    }
}

/// A proposal, and the tip once it is decided.
#[derive(Clone, Debug)]
pub struct BuiltProposal {
    /// The value with all its data.
    pub proposal: Proposal,
    /// What the next height builds on if this value is decided.
    pub next: Tip,
}

/// Why a proposal cannot be built. Faults of the gates mean that this program contradicts itself.
#[derive(Debug, thiserror::Error)]
pub enum ProposeError {
    /// More blobs than the chain's genesis allows.
    #[error("{count} blobs asked for, the chain allows {max}")]
    TooManyBlobs {
        /// Blobs asked for.
        count: u64,
        /// The chain's limit.
        max: u64,
    },
    /// The execution block cannot be built.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The payload is larger than the protocol allows.
    #[error("a payload of {0} bytes is over the protocol's limit")]
    PayloadTooLarge(usize),
    /// An execution client gives no block for it.
    #[error("the execution client: {0}")]
    Client(#[from] ClientFault),
    /// There is no execution client to build it.
    #[error("no execution client builds blocks")]
    NoClient,
    /// The execution requests of a client's block break the rules.
    #[error(transparent)]
    RequestsFault(#[from] RequestsFault),
    /// More or larger execution requests than the protocol allows.
    #[error("the execution requests are over the protocol's limits")]
    Requests,
    /// A blob or the payload does not match the value that was made for it.
    #[error("the proposal contradicts itself: {0}")]
    Match(#[from] MatchFault),
    /// The payload is not what the value says.
    #[error("the proposal contradicts itself: {0}")]
    Payload(#[from] PayloadFault),
    /// A blob's proof does not verify.
    #[error("the proof of blob {index} does not verify")]
    Proof {
        /// Index of the blob.
        index: u64,
    },
}

/// Builds proposals for one chain.
#[derive(Clone, Debug)]
pub struct Proposer {
    spec: Arc<ChainSpec>,
    factory: BlobFactory,
    kzg: Arc<Kzg>,
}

impl Proposer {
    /// A proposer whose blobs come from `factory`.
    #[must_use]
    pub fn new(spec: Arc<ChainSpec>, factory: BlobFactory, kzg: Arc<Kzg>) -> Self {
        Self { spec, factory, kzg }
    }

    /// The chain.
    #[must_use]
    pub fn spec(&self) -> &Arc<ChainSpec> {
        &self.spec
    }

    /// Builds the proposal of the height after `tip`. Takes about 2 ms of one core per blob: not for async threads.
    ///
    /// # Errors
    /// Every [`ProposeError`].
    pub fn build(&self, tip: &Tip, round: u64, blob_count: u64) -> Result<BuiltProposal, ProposeError> {
        let max = self.spec.genesis().max_blobs_per_block;
        if blob_count > max {
            return Err(ProposeError::TooManyBlobs { count: blob_count, max });
        }
        let height = tip.next_height();
        let blobs = self.factory.for_round(height, round).blobs(0..blob_count);
        let block = self.block(tip, round, &blobs)?;
        self.assemble(tip, round, block, blobs)
    }

    /// Makes a proposal of a block that is there with its blobs, which must be in the order of its transactions. Takes
    /// about 1 ms of one core per blob.
    ///
    /// # Errors
    /// Every [`ProposeError`] but [`ProposeError::Build`].
    pub fn assemble(
        &self,
        tip: &Tip,
        round: u64,
        block: BuiltBlock,
        blobs: Vec<CommittedBlob>,
    ) -> Result<BuiltProposal, ProposeError> {
        let value = self.value(tip, round, &blobs, &block)?;
        let value = IdentifiedValue::new(Arc::new(value));
        let next = Tip { link: ChainLink::after(value.value(), *value.id()), execution: block.as_parent };
        let payload = envelope(&value, block.payload, block.execution_requests)?;
        let blobs = self.verify(&value, blobs)?;
        Ok(BuiltProposal { proposal: Proposal { round, value, payload, blobs }, next })
    }

    /// The blobs of a height.
    #[must_use]
    pub fn factory(&self) -> &BlobFactory {
        &self.factory
    }

    /// What the proposer of `round` has to say about the block after `tip`, but for its blobs.
    #[must_use]
    pub fn attributes<'a>(&self, tip: &Tip, round: u64, versioned_hashes: &'a [B256]) -> BlockAttributes<'a> {
        let height = tip.next_height();
        BlockAttributes {
            timestamp: self.spec.timestamp(height),
            fee_recipient: ExecutionAddress::new(self.proposer(height, round).0),
            prev_randao: randao(&tip.link.value_id, round),
            parent_beacon_block_root: B256::new(tip.link.value_id.0),
            versioned_hashes,
        }
    }

    fn block(&self, tip: &Tip, round: u64, blobs: &[CommittedBlob]) -> Result<BuiltBlock, BuildError> {
        let versioned_hashes: Vec<_> = blobs.iter().map(|blob| B256::new(versioned_hash(&blob.commitment).0)).collect();
        self.spec.builder().build(&tip.execution, &self.attributes(tip, round, &versioned_hashes))
    }

    fn value(&self, tip: &Tip, round: u64, blobs: &[CommittedBlob], block: &BuiltBlock) -> Result<Value, ProposeError> {
        let height = tip.next_height();
        let commitments: Vec<_> = blobs.iter().map(|blob| blob.commitment).collect();
        let count = blobs.len() as u64;
        Ok(Value {
            height,
            timestamp: block.as_parent.timestamp,
            parent_value_id: tip.link.value_id,
            proposer: self.proposer(height, round),
            validators_root: self.spec.validators_root(height),
            next_validators_root: self.spec.validators_root(height.saturating_add(1)),
            block_hash: Bytes32::from(block.as_parent.hash.0),
            parent_block_hash: Bytes32::from(tip.execution.hash.0),
            payload_digest: <[u8; 32]>::from(Sha256::digest(&block.payload)).into(),
            payload_size: block.payload.len() as u64,
            requests_hash: Bytes32::from(block.requests_hash.0),
            blob_kzg_commitments: List::try_from(commitments)
                .map_err(|_| ProposeError::TooManyBlobs { count, max: self.spec.genesis().max_blobs_per_block })?,
        })
    }

    fn proposer(&self, height: Height, round: u64) -> Bytes20 {
        let index = self.spec.proposer(height, round);
        self.spec.validators().get(index).map(lapis_protocol_spec::Validator::address).unwrap_or_default()
    }

    /// Both gates, in batches, on all cores when there are many.
    fn verify(
        &self,
        value: &IdentifiedValue,
        blobs: Vec<CommittedBlob>,
    ) -> Result<Vec<Verified<BlobSidecar>>, ProposeError> {
        let matched: Result<Vec<_>, _> = (0_u64..)
            .zip(blobs)
            .map(|(index, CommittedBlob { blob, commitment, proof })| {
                let height = value.value().height;
                let sidecar = BlobSidecar { height, index, kzg_commitment: commitment, kzg_proof: proof, blob };
                Matched::blob(sidecar, value, index)
            })
            .collect();
        in_parts(matched?, |part| self.verify_part(part)).into_iter().collect()
    }

    fn verify_part(&self, mut part: Vec<Matched<BlobSidecar>>) -> Vec<Result<Verified<BlobSidecar>, ProposeError>> {
        let mut verified = Vec::with_capacity(part.len());
        while !part.is_empty() {
            let rest = part.split_off(part.len().min(VERIFICATION_BATCH));
            let outcome = self.kzg.verify_batch(part.into_iter().map(|sidecar| ((), sidecar)).collect());
            verified.extend(outcome.verified.into_iter().map(|((), sidecar)| Ok(sidecar)));
            verified
                .extend(outcome.faulty.iter().map(|((), sidecar)| Err(ProposeError::Proof { index: sidecar.index })));
            part = rest;
        }
        verified
    }
}

/// There is no beacon chain: the header's `mix_hash` is derived from the parent value and the round.
fn randao(parent_value_id: &Bytes32, round: u64) -> B256 {
    B256::new(Sha256::new().chain_update(parent_value_id).chain_update(round.to_le_bytes()).finalize().into())
}

fn envelope(
    value: &IdentifiedValue,
    payload: Vec<u8>,
    requests: Vec<Bytes>,
) -> Result<Verified<PayloadEnvelope>, ProposeError> {
    let size = payload.len();
    let envelope = PayloadEnvelope {
        height: value.value().height,
        value_id: *value.id(),
        payload: ByteList::new(payload).ok_or(ProposeError::PayloadTooLarge(size))?,
        execution_requests: execution_requests(requests)?,
    };
    Ok(Matched::payload(envelope, value)?.verify()?)
}

fn execution_requests(requests: Vec<Bytes>) -> Result<ExecutionRequests, ProposeError> {
    let requests: Option<Vec<_>> = requests.into_iter().map(ByteList::new).collect();
    requests.and_then(|requests| requests.try_into().ok()).ok_or(ProposeError::Requests)
}

#[cfg(test)]
mod tests;
