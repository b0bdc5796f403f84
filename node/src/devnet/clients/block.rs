//! What a client has built, as the parts of a proposal.

use alloy_rpc_types_engine::ExecutionPayloadV3;

use crate::{
    devnet::blobs::CommittedBlob,
    execution::{
        BuiltBlock, ParentBlock,
        engine_api::{BuiltBlob, BuiltPayload},
        requests::{RequestsFault, requests_hash},
    },
};

/// The blobs that came with the block, in the order of its transactions.
pub(super) fn committed(blobs: &[BuiltBlob]) -> Vec<CommittedBlob> {
    let whole = |built: &BuiltBlob| CommittedBlob {
        blob: built.blob.clone(),
        commitment: built.kzg_commitment,
        proof: built.kzg_proof,
    };
    blobs.iter().map(whole).collect()
}

/// The block that follows `parent` and has `sent` transactions of the account that signs for the devnet.
///
/// # Errors
/// [`RequestsFault`] if its execution requests are not a legal list.
pub(super) fn into_block(built: BuiltPayload, parent: &ParentBlock, sent: u64) -> Result<BuiltBlock, RequestsFault> {
    Ok(BuiltBlock {
        payload: built.payload_ssz(),
        requests_hash: requests_hash(&built.execution_requests)?,
        as_parent: as_parent(&built.payload, parent.next_nonce.saturating_add(sent)),
        execution_requests: built.execution_requests,
    })
}

fn as_parent(payload: &ExecutionPayloadV3, next_nonce: u64) -> ParentBlock {
    let block = &payload.payload_inner.payload_inner;
    ParentBlock {
        hash: block.block_hash,
        number: block.block_number,
        timestamp: block.timestamp,
        gas_limit: block.gas_limit,
        gas_used: block.gas_used,
        base_fee_per_gas: u64::try_from(block.base_fee_per_gas).unwrap_or(u64::MAX),
        blob_gas_used: payload.blob_gas_used,
        excess_blob_gas: payload.excess_blob_gas,
        state_root: block.state_root,
        next_nonce,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use alloy_primitives::{Address, B256};
    use bytes::Bytes;
    use ssz::Decode;

    use super::*;
    use crate::execution::{BlobSchedule, BlockAttributes, BlockBuilder, ForkSchedule, builder::Account};

    /// What the next block builds on is the same, whether it is read from a payload or was known while it was built.
    #[test]
    fn a_block_is_the_parent_that_its_payload_says() {
        let forks = ForkSchedule { cancun_time: 0, prague_time: 0 };
        let builder = BlockBuilder::new(7, forks, BlobSchedule::flat(9), Account::development().unwrap());
        let genesis = builder.genesis(5).unwrap();
        let attributes = BlockAttributes {
            timestamp: 6,
            fee_recipient: Address::repeat_byte(1),
            prev_randao: B256::repeat_byte(2),
            parent_beacon_block_root: B256::repeat_byte(3),
            versioned_hashes: &[B256::repeat_byte(1); 9],
        };
        let expected = builder.build(&genesis, &attributes).unwrap();
        let payload = ExecutionPayloadV3::from_ssz_bytes(&expected.payload).unwrap();
        let built = BuiltPayload { payload, blobs: Vec::new(), execution_requests: Vec::new() };
        assert_eq!(into_block(built, &genesis, 2).unwrap(), expected);
        let payload = ExecutionPayloadV3::from_ssz_bytes(&expected.payload).unwrap();
        let execution_requests = vec![Bytes::from_static(&[2, 1]), Bytes::from_static(&[1, 1])];
        let disordered = BuiltPayload { payload, blobs: Vec::new(), execution_requests };
        assert!(matches!(into_block(disordered, &genesis, 2), Err(RequestsFault::Order { .. })));
    }
}
