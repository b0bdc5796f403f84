//! Chains whose blocks clients build.

use std::sync::Arc;

use alloy_rpc_types_engine::ForkchoiceState;
use lapis_node::{
    devnet::{
        blobs::BlobFactory,
        chain_maker::{Block, ChainMaker},
        clients::{Agreed, Builder, ClientProposer},
        execution_genesis::ExecutionGenesis,
        proposal::{BuiltProposal, Proposer},
    },
    execution::{ForkSchedule, ImportBlock, PayloadStatus, engine_api::EngineApi},
};
use lapis_protocol_spec::Height;
use lapis_storage::Watermarks;
use tokio::sync::watch;

use super::{ExecutionClient, Kind, Programs};
use crate::{TestChain, kzg};

/// A chain in the making, with the client that builds it.
#[derive(Debug)]
pub struct ClientChain {
    maker: ChainMaker,
    client: ExecutionClient,
    genesis: ExecutionGenesis,
    proposer: ClientProposer,
    imported: watch::Sender<Watermarks>,
    blocks: Vec<Block>,
}

impl ClientChain {
    /// Starts a client of this kind, and a chain at its block 0.
    pub async fn start(programs: &Programs, kind: Kind, genesis: &ExecutionGenesis) -> Self {
        let client = ExecutionClient::start(programs, kind, genesis).await;
        let block = client.endpoint().genesis().await.unwrap();
        let params = Agreed { genesis: *genesis, block }.params(4);
        let maker = ChainMaker::new(&params, kzg()).unwrap();
        let (imported, watermarks) = watch::channel(Watermarks::default());
        let proposer = Proposer::new(Arc::clone(maker.spec()), BlobFactory::new(params.seed), kzg());
        let builder = Builder { client: client.endpoint().api().unwrap(), watermarks };
        let proposer = ClientProposer::new(proposer, *genesis, vec![builder]).unwrap();
        Self { maker, client, genesis: *genesis, proposer, imported, blocks: Vec::new() }
    }

    /// The client's genesis.
    pub fn genesis(&self) -> &ExecutionGenesis {
        &self.genesis
    }

    /// What the client builds with so many blobs on the last height.
    pub async fn propose(&self, blobs: u64) -> BuiltProposal {
        self.proposer.propose(*self.maker.tip(), 0, blobs).await.unwrap()
    }

    /// Adds a height with each of these numbers of blobs, and has the client follow.
    pub async fn extend(&mut self, counts: impl IntoIterator<Item = u64>) {
        for count in counts {
            let built = self.propose(count).await;
            self.decide(built);
            let block = self.blocks.last().expect("just decided");
            follow(&self.client.endpoint().api().unwrap(), block, self.maker.spec().forks()).await;
            let height = self.last();
            self.imported.send_modify(|marks| marks.imported = height);
        }
    }

    /// Lets all validators decide what is proposed, whatever it is. The client does not hear of it.
    pub fn decide(&mut self, built: BuiltProposal) {
        self.blocks.push(self.maker.decide(built).unwrap());
    }

    /// The highest height.
    pub fn last(&self) -> Height {
        self.blocks.len() as Height
    }

    /// The client that builds.
    pub fn client(&self) -> &ExecutionClient {
        &self.client
    }

    /// The proposer of the chain, to make proposals that no client would.
    pub fn proposer(&self) -> &Proposer {
        self.proposer.proposer()
    }

    /// The tip.
    pub fn maker(&self) -> &ChainMaker {
        &self.maker
    }

    /// What is decided so far.
    pub fn so_far(&self) -> TestChain {
        TestChain::of(self.maker.clone(), self.blocks.clone())
    }
}

/// Makes a block the client's head.
async fn follow(client: &EngineApi, block: &Block, forks: ForkSchedule) {
    let import = ImportBlock::new(block.value.value(), &block.payload, forks).unwrap();
    let call = client.prepare_payload(&import).unwrap();
    let status = client.new_payload(&call).await.unwrap();
    assert!(matches!(status, PayloadStatus::Valid { .. }), "{status:?}");
    let head = import.expected().block_hash;
    let state = ForkchoiceState { head_block_hash: head, safe_block_hash: head, finalized_block_hash: head };
    let status = client.forkchoice_updated(state).await.unwrap();
    assert!(matches!(status, PayloadStatus::Valid { .. }), "{status:?}");
}
