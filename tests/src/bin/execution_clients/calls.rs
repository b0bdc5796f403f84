//! Single calls, as an importer makes them, and what each client says to them.

use std::sync::Arc;

use alloy_primitives::B256;
use alloy_rpc_types_engine::ForkchoiceState;
use lapis_node::{
    devnet::chain_maker::Block,
    execution::{ForkSchedule, ImportBlock, PayloadStatus, engine_api::EngineApi},
};
use lapis_tests::{
    TestChain,
    execution::{ExecutionClient, Kind, with_wrong_state_root},
};

use crate::{
    Case,
    chains::{Built, Chains, Forks},
};

/// Every case, with every client.
pub(crate) fn all(chains: &Arc<Chains>) -> Vec<Case> {
    let each = Kind::ALL.into_iter().flat_map(|kind| {
        let chains = || Arc::clone(chains);
        [
            Case::new(format!("{kind}: an orphan is neither valid nor invalid"), orphan(chains(), kind)),
            Case::new(format!("{kind}: a wrong state root"), state_root(chains(), kind)),
            Case::new(format!("{kind}: capabilities"), capabilities(chains(), kind)),
        ]
    });
    each.collect()
}

/// A block whose parent the client lacks. One says SYNCING, another ACCEPTED; once it has the parent, VALID.
async fn orphan(chains: Arc<Chains>, kind: Kind) {
    let Built { genesis, chain } = chains.of(kind, Forks::Both).await;
    let client = ExecutionClient::start(chains.programs(), kind, &genesis).await;
    let api = client.endpoint().api().unwrap();
    let status = offer(&api, &import(&chain, chain.block(2))).await;
    assert!(matches!(status, PayloadStatus::Syncing | PayloadStatus::Accepted), "{status:?}");
    for height in 1..=2 {
        let block = import(&chain, chain.block(height));
        let status = offer(&api, &block).await;
        assert!(matches!(status, PayloadStatus::Valid { .. }), "height {height}: {status:?}");
        assert!(matches!(follow(&api, block.expected().block_hash).await, PayloadStatus::Valid { .. }));
    }
    assert_eq!(client.head().await.map(|head| head.number), Some(2));
}

async fn state_root(chains: Arc<Chains>, kind: Kind) {
    let mut making = chains.begin(kind, Forks::Cancun).await;
    making.extend([1]).await;
    let built = making.propose(1).await;
    let forged = with_wrong_state_root(making.proposer(), making.maker().tip(), built);
    making.decide(forged);
    let chain = making.so_far();
    let api = making.client().endpoint().api().unwrap();
    let status = offer(&api, &import(&chain, chain.block(2))).await;
    assert!(matches!(status, PayloadStatus::Invalid(_)), "{status:?}");
    assert_eq!(making.client().head().await.map(|head| head.number), Some(1));
}

/// Everything that is needed is there, and what else a client has is no obstacle.
async fn capabilities(chains: Arc<Chains>, kind: Kind) {
    let client = ExecutionClient::start(chains.programs(), kind, &Forks::Prague.genesis()).await;
    let methods = client.endpoint().api().unwrap().exchange_capabilities().await.unwrap();
    for needed in ["engine_newPayloadV3", "engine_newPayloadV4", "engine_forkchoiceUpdatedV3", "engine_getPayloadV4"] {
        assert!(methods.contains(needed), "{needed} is not among {methods:?}");
    }
}

fn import(chain: &TestChain, block: &Block) -> ImportBlock {
    ImportBlock::new(block.value.value(), &block.payload, ForkSchedule::from(chain.spec().genesis())).unwrap()
}

async fn offer(api: &EngineApi, block: &ImportBlock) -> PayloadStatus {
    api.new_payload(&api.prepare_payload(block).unwrap()).await.unwrap()
}

async fn follow(api: &EngineApi, head: B256) -> PayloadStatus {
    let state = ForkchoiceState { head_block_hash: head, safe_block_hash: head, finalized_block_hash: head };
    api.forkchoice_updated(state).await.unwrap()
}
