//! Proposals that no client would make, for chains that decide them all the same.

use alloy_primitives::B256;
use alloy_rpc_types_engine::ExecutionPayloadV3;
use lapis_node::{
    devnet::{
        blobs::CommittedBlob,
        proposal::{BuiltProposal, Proposer, Tip},
    },
    execution::{BuiltBlock, Fork, requests_hash},
};
use lapis_protocol_spec::BlobSidecar;
use ssz::{Decode, Encode};

/// The same block with another state root, and the block hash that follows from it.
pub fn with_wrong_state_root(proposer: &Proposer, tip: &Tip, built: BuiltProposal) -> BuiltProposal {
    let (mut block, mut payload, blobs) = parts(built);
    payload.payload_inner.payload_inner.state_root = B256::repeat_byte(0x66);
    let mut header = payload.clone().into_block_raw().unwrap().header;
    header.parent_beacon_block_root = Some(B256::new(tip.link.value_id.0));
    header.requests_hash = match proposer.spec().forks().fork_at(header.timestamp).unwrap() {
        Fork::Cancun => None,
        Fork::Prague => Some(block.requests_hash),
    };
    let hash = header.hash_slow();
    payload.payload_inner.payload_inner.block_hash = hash;
    block.payload = payload.as_ssz_bytes();
    block.as_parent.hash = hash;
    proposer.assemble(tip, 0, block, blobs).unwrap()
}

/// The same block, with the first two of its blobs in the wrong order in the value.
pub fn with_swapped_commitments(proposer: &Proposer, tip: &Tip, built: BuiltProposal) -> BuiltProposal {
    let (block, _, mut blobs) = parts(built);
    blobs.swap(0, 1);
    proposer.assemble(tip, 0, block, blobs).unwrap()
}

fn parts(built: BuiltProposal) -> (BuiltBlock, ExecutionPayloadV3, Vec<CommittedBlob>) {
    let envelope = built.proposal.payload.into_inner();
    let requests: Vec<_> = envelope.execution_requests.iter().map(|request| request.as_bytes().clone()).collect();
    let payload = envelope.payload.as_bytes().to_vec();
    let decoded = ExecutionPayloadV3::from_ssz_bytes(&payload).unwrap();
    let requests_hash = requests_hash(&requests).unwrap();
    let block = BuiltBlock { payload, execution_requests: requests, requests_hash, as_parent: built.next.execution };
    let blobs = built.proposal.blobs.into_iter().map(|blob| {
        let BlobSidecar { kzg_commitment, kzg_proof, blob, .. } = blob.into_inner();
        CommittedBlob { blob, commitment: kzg_commitment, proof: kzg_proof }
    });
    (block, decoded, blobs.collect())
}
