//! Catching up from an empty store, and counting what that takes.

use std::{sync::Arc, time::Instant};

use lapis_protocol_spec::{BlobSidecar, Genesis, Height, Kzg};
use lapis_storage::{DiskFile, Store, StoreConfig, StoreStats};
use libp2p::identity::Keypair;
use tokio_util::sync::CancellationToken;

use super::{
    error::BenchError,
    job::{Outcome, SyncJob, Way},
    plain::PlainClient,
    whole_height,
};
use crate::{
    chain::Chain,
    config::{Config, Pacing},
    genesis_file,
    node::{Node, NodeHandle, NodeOptions, Source},
    usage,
};

const STORE: &str = "store.redb";
const PEERS: &str = "peers.json";
const EVIDENCE: &str = "evidence";

/// Does one job.
pub(super) async fn run(job: &SyncJob, kzg: &Arc<Kzg>) -> Result<Outcome, BenchError> {
    let (genesis, kzg) = (genesis_file::load(&job.genesis)?, Arc::clone(kzg));
    match job.way {
        Way::Lapis => with_node(job, genesis, kzg, Pacing::Adaptive).await,
        Way::FixedPacing => with_node(job, genesis, kzg, Pacing::Fixed).await,
        Way::WholeHeight => by_whole_heights(job, genesis, kzg).await,
    }
}

/// A count that goes on.
struct Count {
    started: Instant,
    cpu: std::time::Duration,
}

impl Count {
    fn start() -> Self {
        Self { cpu: usage::process_cpu(), started: Instant::now() }
    }

    fn end(&self, stats: &StoreStats, complete: bool, received: u64) -> Outcome {
        let (time, cpu) = (self.started.elapsed(), usage::process_cpu().saturating_sub(self.cpu));
        let data = data(stats);
        Outcome {
            time,
            cpu,
            blobs: stats.tallies.blobs.held().count,
            complete,
            peak_resident: usage::peak_resident_bytes(),
            received,
            data,
            kept: data,
            disk: stats.allocated_bytes,
        }
    }
}

/// Bytes of what is in a store, as they go over the wire.
fn data(stats: &StoreStats) -> u64 {
    let tallies = &stats.tallies;
    let sidecars = tallies.blobs.held().count.saturating_mul(BlobSidecar::BYTES as u64);
    tallies.values_decided.bytes.saturating_add(tallies.payloads.held().bytes).saturating_add(sidecars)
}

/// A whole node with the default configuration, but that it is quiet and knows its peers.
async fn with_node(job: &SyncJob, genesis: Genesis, kzg: Arc<Kzg>, pacing: Pacing) -> Result<Outcome, BenchError> {
    let mut config = Config::default();
    config.network.listen = Vec::new();
    config.network.peers.clone_from(&job.peers);
    config.network.target_peers = 0;
    config.http.enabled = false;
    config.sync.pacing = pacing;
    let options = NodeOptions {
        config,
        chain: Chain::new(genesis),
        keypair: Keypair::generate_ed25519(),
        store: Arc::new(DiskFile::new(&job.dir.join(STORE))),
        peers_path: job.dir.join(PEERS),
        evidence_path: job.dir.join(EVIDENCE),
        kzg,
        source: Source::Follow,
        archives: Vec::new(),
    };
    let count = Count::start();
    let stop = CancellationToken::new();
    let node = Node::start(options, stop.clone()).await.map_err(Box::new)?;
    let handle = node.handle();
    let running = tokio::spawn(node.run());
    let reached = tokio::time::timeout(job.time_box, imported(&handle, job.target)).await;
    let outcome = count.end(&handle.store.stats()?, reached.is_ok(), 0);
    let received = received(&handle).await;
    stop.cancel();
    let store = handle.store.clone();
    drop(handle);
    // How it ends is the matter of other tests. It stores what has come by then.
    let _ = running.await?;
    Ok(Outcome { received, kept: data(&store.stats()?), ..outcome })
}

async fn imported(handle: &NodeHandle, target: Height) {
    let mut marks = handle.feed.subscribe();
    // An error means that the node has stopped: then the time box ends the wait.
    if marks.wait_for(|marks| marks.imported >= target).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Bytes of all exchanges, with peers that have gone too.
async fn received(handle: &NodeHandle) -> u64 {
    let peers = handle.network.peers().await.unwrap_or_default();
    peers.iter().fold(0, |sum, peer| sum.saturating_add(peer.bytes_in))
}

async fn by_whole_heights(job: &SyncJob, genesis: Genesis, kzg: Arc<Kzg>) -> Result<Outcome, BenchError> {
    let store = Store::open(&job.dir.join(STORE), &genesis, StoreConfig::default())?;
    let address = job.peers.first().ok_or(BenchError::Nothing("a sync"))?;
    let count = Count::start();
    let client = PlainClient::connect(address).await?;
    let deadline = count.started + job.time_box;
    let received = whole_height::sync(&client, (genesis, kzg, store.clone()), job.target, deadline).await?;
    let stats = store.stats()?;
    Ok(count.end(&stats, stats.watermarks.available >= job.target, received))
}
