//! The nodes of a devnet: each with a directory, a key, a store and sockets of its own, all in this process.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use lapis_protocol_spec::{Height, Kzg};
use lapis_storage::DiskFile;
use libp2p::Multiaddr;
use serde::Serialize;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::clients::EngineEndpoint;
use crate::{
    chain::Chain,
    config::{ByteSize, Config, EngineKind, template},
    data_dir::{DataDir, DataDirError},
    genesis_file::GenesisFileError,
    keys::KeyError,
    node::{Node, NodeHandle, NodeOptions, Source, StartError},
    shutdown::TaskFailure,
};

/// Why a node of the devnet does not start.
#[derive(Debug, thiserror::Error)]
pub enum MemberError {
    /// Its directory.
    #[error("{0}")]
    DataDir(#[from] DataDirError),
    /// Its genesis.
    #[error("{0}")]
    Genesis(#[from] GenesisFileError),
    /// Its key.
    #[error("{0}")]
    Key(#[from] KeyError),
    /// The rest.
    #[error("{0}")]
    Start(#[from] StartError),
}

/// A running node.
#[derive(Debug)]
pub(super) struct Member {
    /// Its name, also that of its directory.
    pub(super) name: String,
    /// Its directory.
    pub(super) dir: DataDir,
    /// The way to it.
    pub(super) handle: NodeHandle,
    task: Option<JoinHandle<Result<(), TaskFailure>>>,
}

/// A node as `devnet.json` describes it.
#[derive(Debug, Serialize)]
pub(super) struct MemberFacts {
    name: String,
    peer_id: String,
    addresses: Vec<Multiaddr>,
    http: Option<String>,
    dir: PathBuf,
    genesis: PathBuf,
}

impl fmt::Display for MemberFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let http = self.http.as_deref().unwrap_or("none");
        let address = self.addresses.first().map_or_else(|| "none".to_owned(), ToString::to_string);
        write!(f, "  {:<12} p2p {address}  http {http}", self.name)
    }
}

/// Starts nodes that know of each other.
#[derive(Debug)]
pub(super) struct Network {
    root: PathBuf,
    chain: Chain,
    kzg: Arc<Kzg>,
    stop: CancellationToken,
    /// Nodes that are left over when the network is dropped stop as well.
    _stops: DropGuard,
}

impl Network {
    /// Nodes will live below `root` and stop with `stop`.
    pub(super) fn new(root: &Path, chain: Chain, kzg: Arc<Kzg>, stop: CancellationToken) -> Self {
        let stop = stop.child_token();
        Self { root: root.to_owned(), chain, kzg, _stops: stop.clone().drop_guard(), stop }
    }

    /// Starts a node that dials `peers`.
    ///
    /// # Errors
    /// [`MemberError`].
    pub(super) async fn start(
        &self,
        name: &str,
        peers: Vec<Multiaddr>,
        source: Source,
        engine: Option<&EngineEndpoint>,
    ) -> Result<Member, MemberError> {
        let dir = DataDir::init_with(&self.root.join(name), self.chain.genesis(), &template::commented())?;
        let options = NodeOptions {
            config: config(peers, engine),
            chain: self.chain.clone(),
            keypair: dir.key()?,
            store: Arc::new(DiskFile::new(&dir.store_path())),
            peers_path: dir.peers_path(),
            evidence_path: dir.evidence_path(),
            kzg: Arc::clone(&self.kzg),
            source,
            archives: Vec::new(),
        };
        let node = Node::start(options, self.stop.child_token()).await?;
        let handle = node.handle();
        let task = tokio::spawn(node.run());
        tracing::debug!(name, peer = %handle.peer_id, "node started");
        Ok(Member { name: name.to_owned(), dir, handle, task: Some(task) })
    }
}

impl Member {
    /// What others need to reach it.
    pub(super) fn facts(&self) -> MemberFacts {
        MemberFacts {
            name: self.name.clone(),
            peer_id: self.handle.peer_id.to_string(),
            addresses: self.handle.addresses(),
            http: self.handle.http.map(|address| address.to_string()),
            dir: self.dir.root().to_owned(),
            genesis: self.dir.genesis_path(),
        }
    }

    /// Its imported height.
    pub(super) fn imported(&self) -> Height {
        self.handle.feed.current().imported
    }

    /// How it ended, if it has without being asked to.
    pub(super) async fn ended(&mut self) -> Option<Result<(), TaskFailure>> {
        let task = self.task.take_if(|task| task.is_finished())?;
        Some(joined(task).await)
    }

    /// Stops it and waits until it has.
    ///
    /// # Errors
    /// Why it went down, if it did not stop in order.
    pub(super) async fn stop(self) -> Result<(), TaskFailure> {
        self.handle.stop();
        match self.task {
            Some(task) => joined(task).await,
            None => Ok(()),
        }
    }
}

async fn joined(task: JoinHandle<Result<(), TaskFailure>>) -> Result<(), TaskFailure> {
    task.await.unwrap_or_else(|error| Err(TaskFailure::Panicked { task: "node", message: error.to_string() }))
}

/// All on loopback, on ports that the system chooses, and no rate limits that a network of one machine would need.
fn config(peers: Vec<Multiaddr>, engine: Option<&EngineEndpoint>) -> Config {
    let mut config = Config::default();
    config.network.listen = ["/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"]
        .iter()
        .filter_map(|address| address.parse().ok())
        .collect();
    config.network.peers = peers;
    // The network is whole as it is.
    config.network.target_peers = 0;
    config.http.listen = ([127, 0, 0, 1], 0).into();
    if let Some(engine) = engine {
        config.engine.kind = EngineKind::EngineApi;
        config.engine.url = Some(engine.url.clone());
        config.engine.jwt_secret = Some(engine.jwt_secret.clone());
    }
    let limits = &mut config.limits;
    limits.serve_bytes_per_peer = ByteSize::gib(1);
    limits.serve_bytes_total = ByteSize::gib(2);
    limits.fetch_bytes_total = ByteSize::gib(2);
    config
}
