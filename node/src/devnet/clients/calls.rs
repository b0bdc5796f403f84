//! What the devnet asks of an execution client, beside what an importer asks of it.

use alloy_primitives::{B256, Bytes};
use alloy_rpc_types_engine::{ForkchoiceState, PayloadAttributes};

use crate::execution::{
    BlockAttributes, Fork, ParentBlock, PayloadStatus,
    engine_api::{BuiltPayload, EngineApi, EngineApiError},
};

/// Why a client gives no block.
#[derive(Debug, thiserror::Error)]
pub enum ClientFault {
    /// A call failed.
    #[error(transparent)]
    Call(#[from] EngineApiError),
    /// It does not build on the tip.
    #[error("it does not build on block {head}: {status:?}")]
    NotBuilding {
        /// The tip.
        head: B256,
        /// What it said to it.
        status: Box<PayloadStatus>,
    },
    /// The block has other blobs than it was sent.
    #[error("it builds no block with the {wanted} blobs that it was sent")]
    Blobs {
        /// Blobs sent.
        wanted: usize,
    },
    /// The devnet ends.
    #[error("the devnet is stopping")]
    Stopping,
}

/// Sends a transaction to the client's pool. What the pool says to it is logged and no more: whether a block has it is
/// what counts, and pools refuse what they have already.
pub(super) async fn send(client: &EngineApi, transaction: &Bytes) {
    if let Err(error) = client.send_raw_transaction(transaction).await {
        tracing::debug!(%error, "the execution client does not take a transaction");
    }
}

/// Has a block built on `head` and fetches it.
///
/// # Errors
/// [`ClientFault::Call`], [`ClientFault::NotBuilding`].
pub(super) async fn build(
    client: &EngineApi,
    head: B256,
    attributes: &BlockAttributes<'_>,
    fork: Fork,
) -> Result<BuiltPayload, ClientFault> {
    let state = ForkchoiceState { head_block_hash: head, safe_block_hash: head, finalized_block_hash: head };
    let attributes = PayloadAttributes {
        timestamp: attributes.timestamp,
        prev_randao: attributes.prev_randao,
        suggested_fee_recipient: attributes.fee_recipient,
        withdrawals: Some(Vec::new()),
        parent_beacon_block_root: Some(attributes.parent_beacon_block_root),
        slot_number: None,
        target_gas_limit: None,
    };
    let (status, id) = client.start_building(state, attributes).await?;
    let id = id.ok_or_else(|| ClientFault::NotBuilding { head, status: Box::new(status) })?;
    Ok(client.built_payload(id, fork).await?)
}

/// Block 0 of the client's chain. No transaction has been signed there yet.
///
/// # Errors
/// [`ClientFault::Call`].
pub(super) async fn genesis(client: &EngineApi) -> Result<ParentBlock, ClientFault> {
    let block = client.genesis_block().await?;
    Ok(ParentBlock {
        hash: block.hash,
        number: 0,
        timestamp: block.timestamp.to(),
        gas_limit: block.gas_limit.to(),
        gas_used: 0,
        base_fee_per_gas: block.base_fee_per_gas.to(),
        blob_gas_used: block.blob_gas_used.to(),
        excess_blob_gas: block.excess_blob_gas.to(),
        state_root: block.state_root,
        next_nonce: 0,
    })
}
