//! Proposals whose blocks execution clients build: real state, real receipts, blobs out of the client's own pool.
//!
//! The devnet has the keys of an account with means in the client's genesis. It sends the client blob transactions, has
//! it build a block on the tip, and makes a proposal of what comes back: the payload, its execution requests, and the
//! blobs of its bundle as sidecars. A client belongs to a node's importer, which tells it what the head is; so that the
//! two do not contradict each other, nothing is built before that node has imported the tip.

mod block;
mod calls;
mod endpoint;

use std::{sync::Arc, time::Duration};

use alloy_primitives::{B256, Bytes};
use lapis_protocol_spec::{Height, versioned_hash};
use lapis_storage::Watermarks;
use sha2::{Digest, Sha256};
use tokio::{sync::watch, task::spawn_blocking, time::sleep};

use self::block::{committed, into_block};
pub use self::{
    calls::ClientFault,
    endpoint::{Agreed, ClientOptions, ClientsError, EngineEndpoint},
};
use super::{
    blobs::CommittedBlob,
    execution_genesis::ExecutionGenesis,
    proposal::{BuiltProposal, ProposeError, Proposer, Tip},
};
use crate::execution::{
    BuildError, BuiltBlock,
    builder::{Account, BlobSender, DEFAULT_BLOBS_PER_TRANSACTION, Fees, SentBlob, with_sidecar},
    engine_api::EngineApi,
};

/// How often a client is asked to build a block before it is given up. Its pool may take a moment for what it was sent.
const ATTEMPTS: u32 = 20;
/// Time between two of them.
const PAUSE: Duration = Duration::from_millis(100);
/// What is offered over the fee of the next block: a block that fails is followed by one a little later.
const FEE_MARGIN: u128 = 2;

/// A client, and how far the node has come that imports into it.
#[derive(Debug)]
pub struct Builder {
    /// The client.
    pub client: EngineApi,
    /// The watermarks of its node.
    pub watermarks: watch::Receiver<Watermarks>,
}

/// Builds proposals for one chain with execution clients.
#[derive(Debug)]
pub struct ClientProposer {
    proposer: Proposer,
    genesis: ExecutionGenesis,
    sender: BlobSender,
    builders: Vec<Builder>,
}

/// What a client's pool is sent for one height.
#[derive(Debug)]
struct Sent {
    /// Versioned hashes of the blobs, in order.
    hashes: Vec<B256>,
    /// Signed, with the blobs.
    transactions: Vec<Bytes>,
}

impl ClientProposer {
    /// A proposer whose blocks come from `builders`: from the one with the proposing validator's index, and round robin
    /// where there are fewer than validators.
    ///
    /// # Errors
    /// [`ProposeError::NoClient`] without any.
    pub fn new(proposer: Proposer, genesis: ExecutionGenesis, builders: Vec<Builder>) -> Result<Self, ProposeError> {
        if builders.is_empty() {
            return Err(ProposeError::NoClient);
        }
        let account = Account::development().map_err(BuildError::from)?;
        let sender = BlobSender::new(genesis.chain_id, DEFAULT_BLOBS_PER_TRANSACTION, account);
        Ok(Self { proposer, genesis, sender, builders })
    }

    /// What knows the chain and makes proposals of blocks.
    #[must_use]
    pub fn proposer(&self) -> &Proposer {
        &self.proposer
    }

    /// Has the proposal of the height after `tip` built. Waits until the client's node has imported the tip.
    ///
    /// Cancel safe: what is dropped has left nothing behind but transactions in a pool, which are sent again.
    ///
    /// # Errors
    /// [`ProposeError`].
    pub async fn propose(&self, tip: Tip, round: u64, blob_count: u64) -> Result<BuiltProposal, ProposeError> {
        let height = tip.next_height();
        let max = self.genesis.blobs_at(self.proposer.spec().timestamp(height)).map_err(BuildError::from)?.max;
        if blob_count > max {
            return Err(ProposeError::TooManyBlobs { count: blob_count, max });
        }
        let builder = self.builder(height, round)?;
        builder.imported(tip.link.height).await?;
        let sent = self.transactions(&tip, blob_count).await?;
        let (block, blobs) = self.block(&builder.client, &tip, round, &sent).await?;
        let proposer = self.proposer.clone();
        on_thread(move || proposer.assemble(&tip, round, block, blobs)).await?
    }

    fn builder(&self, height: Height, round: u64) -> Result<&Builder, ProposeError> {
        let turn = self.proposer.spec().proposer(height, round);
        let index = turn.checked_rem(self.builders.len()).unwrap_or_default();
        self.builders.get(index).ok_or(ProposeError::NoClient)
    }

    /// The transactions that bring the height's blobs. They are the same in all rounds, so that what is in a pool from a
    /// round that failed is what is wanted.
    async fn transactions(&self, tip: &Tip, count: u64) -> Result<Sent, ProposeError> {
        let (factory, sender) = (self.proposer.factory().for_round(tip.next_height(), 0), self.sender.clone());
        let (fees, nonce) = (self.fees(tip)?, tip.execution.next_nonce);
        on_thread(move || {
            let blobs = factory.blobs(0..count);
            let hashes: Vec<_> = blobs.iter().map(|blob| B256::new(versioned_hash(&blob.commitment).0)).collect();
            let signed = sender.transactions(nonce, &hashes, fees).map_err(BuildError::from)?;
            let signed = signed.ok_or(BuildError::Exhausted)?;
            let parts =
                blobs.chunks(sender.per_transaction()).map(|part| part.iter().map(sent_blob).collect::<Vec<_>>());
            let transactions = signed.iter().zip(parts).map(|(signed, part)| with_sidecar(signed, &part)).collect();
            Ok(Sent { hashes, transactions })
        })
        .await?
    }

    fn fees(&self, tip: &Tip) -> Result<Fees, ProposeError> {
        let blobs =
            self.genesis.blobs_at(self.proposer.spec().timestamp(tip.next_height())).map_err(BuildError::from)?;
        let excess_blob_gas = blobs.next_excess_blob_gas(&tip.execution);
        let blob_base_fee = blobs.blob_base_fee(excess_blob_gas).ok_or(BuildError::BlobFee { excess_blob_gas })?;
        Ok(Fees {
            base_fee: u128::from(tip.execution.base_fee_per_gas).saturating_mul(FEE_MARGIN),
            blob_base_fee: blob_base_fee.saturating_mul(FEE_MARGIN),
        })
    }

    /// A block on the tip with exactly these blobs.
    ///
    /// A client may give what it has built already whenever it is asked for the same block, so each attempt asks for
    /// another one.
    async fn block(
        &self,
        client: &EngineApi,
        tip: &Tip,
        round: u64,
        sent: &Sent,
    ) -> Result<(BuiltBlock, Vec<CommittedBlob>), ProposeError> {
        let mut attributes = self.proposer.attributes(tip, round, &sent.hashes);
        let fork = self.genesis.forks.fork_at(attributes.timestamp).map_err(BuildError::from)?;
        for _ in 1..=ATTEMPTS {
            for transaction in &sent.transactions {
                calls::send(client, transaction).await;
            }
            let built = calls::build(client, tip.execution.hash, &attributes, fork).await?;
            let blobs = committed(&built.blobs);
            let found = blobs.iter().map(|blob| B256::new(versioned_hash(&blob.commitment).0));
            if found.eq(sent.hashes.iter().copied()) {
                return Ok((into_block(built, &tip.execution, sent.transactions.len() as u64)?, blobs));
            }
            attributes.prev_randao = B256::new(Sha256::digest(attributes.prev_randao).into());
            sleep(PAUSE).await;
        }
        Err(ProposeError::Client(ClientFault::Blobs { wanted: sent.hashes.len() }))
    }
}

impl Builder {
    /// Waits until the client's node has imported `height`.
    async fn imported(&self, height: Height) -> Result<(), ProposeError> {
        let mut watermarks = self.watermarks.clone();
        let there = watermarks.wait_for(|marks| marks.imported >= height).await;
        there.map(|_| ()).map_err(|_closed| ProposeError::Client(ClientFault::Stopping))
    }
}

fn sent_blob(blob: &CommittedBlob) -> SentBlob<'_> {
    SentBlob { blob: blob.blob.as_ref(), commitment: blob.commitment.as_ref(), proof: blob.proof.as_ref() }
}

/// Runs what is dear on a thread for such.
async fn on_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, ProposeError> {
    spawn_blocking(work).await.map_err(|_ended| ProposeError::Client(ClientFault::Stopping))
}

/// What proposals come from.
#[derive(Clone, Debug)]
pub enum Producer {
    /// The chain's own builder, without state.
    Builder(Proposer),
    /// Execution clients.
    Clients(Arc<ClientProposer>),
}

impl From<Proposer> for Producer {
    fn from(proposer: Proposer) -> Self {
        Self::Builder(proposer)
    }
}

impl Producer {
    /// What knows the chain.
    #[must_use]
    pub fn proposer(&self) -> &Proposer {
        match self {
            Self::Builder(proposer) => proposer,
            Self::Clients(clients) => clients.proposer(),
        }
    }

    /// The proposal of the height after `tip`.
    ///
    /// # Errors
    /// [`ProposeError`].
    pub async fn propose(&self, tip: Tip, round: u64, blob_count: u64) -> Result<BuiltProposal, ProposeError> {
        match self {
            Self::Builder(proposer) => {
                let proposer = proposer.clone();
                on_thread(move || proposer.build(&tip, round, blob_count)).await?
            }
            Self::Clients(clients) => clients.propose(tip, round, blob_count).await,
        }
    }
}
