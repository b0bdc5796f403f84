//! A node's directory and key while the node does not run.

use std::{fs, path::PathBuf, sync::Arc, time::Duration};

use lapis_node::{
    config::{ByteSize, Config},
    devnet::chain_maker::Block,
    node::{Node, NodeOptions, Source, StartError},
    sync::archive::Archive,
};
use lapis_protocol_spec::{BlobSidecar, Height};
use lapis_storage::{DiskFile, Medium, Store, StoreConfig};
use libp2p::{Multiaddr, identity::Keypair};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::{SmallDisk, TestChain, TestNode, kzg};

/// Name of the store's file.
const STORE: &str = "store.redb";

/// Where a node lives. Starting and stopping goes back and forth between this and [`TestNode`].
#[derive(Debug)]
pub struct Home {
    dir: TempDir,
    keypair: Keypair,
    chain: Arc<TestChain>,
    /// Where the store is.
    medium: Arc<dyn Medium>,
}

/// How a node is started.
#[derive(Debug)]
pub struct Setup {
    /// Its configuration.
    pub config: Config,
    /// Where its decided values come from.
    pub source: Source,
    /// Archives that it may ask.
    pub archives: Vec<Arc<dyn Archive>>,
}

impl Default for Setup {
    /// Follows peers, and looks for no others; listens on the loopback interface alone, on a port that the system
    /// chooses; no HTTP; rate limits that a network of one machine does not reach.
    fn default() -> Self {
        let mut config = Config::default();
        config.network.listen = vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()];
        config.network.target_peers = 0;
        config.http.enabled = false;
        let limits = &mut config.limits;
        limits.serve_bytes_per_peer = ByteSize::gib(1);
        limits.serve_bytes_total = ByteSize::gib(2);
        limits.fetch_bytes_total = ByteSize::gib(2);
        Self { config, source: Source::Follow, archives: Vec::new() }
    }
}

impl Setup {
    /// The default with these peers.
    pub fn peers(peers: impl IntoIterator<Item = Multiaddr>) -> Self {
        let mut setup = Self::default();
        setup.config.network.peers = peers.into_iter().collect();
        setup
    }

    /// Listens over QUIC alone.
    #[must_use]
    pub fn quic(mut self) -> Self {
        self.config.network.listen = vec!["/ip4/127.0.0.1/udp/0/quic-v1".parse().unwrap()];
        self
    }

    /// With another source of decided values.
    #[must_use]
    pub fn source(mut self, source: Source) -> Self {
        self.source = source;
        self
    }

    /// With another archive to ask.
    #[must_use]
    pub fn archive(mut self, archive: Arc<dyn Archive>) -> Self {
        self.archives.push(archive);
        self
    }

    /// With this much time for the first chunk of a response.
    #[must_use]
    pub fn first_chunk_timeout(mut self, limit: Duration) -> Self {
        self.config.sync.first_chunk_timeout = limit;
        self
    }
}

impl Home {
    /// An empty directory and a new key.
    pub fn new(chain: &Arc<TestChain>) -> Self {
        let dir = TempDir::new().unwrap();
        let medium = Arc::new(DiskFile::new(&dir.path().join(STORE)));
        Self { dir, keypair: Keypair::generate_ed25519(), chain: Arc::clone(chain), medium }
    }

    /// The same with a store on a disk that fills up when it is told to.
    pub fn on_small_disk(chain: &Arc<TestChain>) -> (Self, SmallDisk) {
        let home = Self::new(chain);
        let disk = SmallDisk::new(&home.store_path());
        (Self { medium: Arc::new(disk.clone()), ..home }, disk)
    }

    /// A directory whose store holds `blocks`, the first ones of the chain, whole.
    pub fn holding(chain: &Arc<TestChain>, blocks: &[Block]) -> Self {
        Self::holding_except(chain, blocks, |_, _| false)
    }

    /// The same without the blobs that `without` names by height and index.
    pub fn holding_except(chain: &Arc<TestChain>, blocks: &[Block], without: impl Fn(Height, u64) -> bool) -> Self {
        let home = Self::new(chain);
        chain.fill(&home.store(), blocks, without);
        home
    }

    /// The chain.
    pub fn chain(&self) -> &Arc<TestChain> {
        &self.chain
    }

    /// The store, open; to be dropped before the node starts.
    pub fn store(&self) -> Store {
        Store::open_on(Arc::clone(&self.medium), self.chain.spec().genesis(), StoreConfig::default()).unwrap()
    }

    /// Flips a bit of `blob` in the store's file, as a failing disk does.
    pub fn damage(&self, blob: &BlobSidecar) {
        let mut file = fs::read(self.store_path()).unwrap();
        let start = &blob.blob.as_ref()[..64];
        let places: Vec<_> = file.windows(start.len()).enumerate().filter(|(_, bytes)| *bytes == start).collect();
        let [(place, _)] = places.as_slice() else { panic!("the blob is there {} times", places.len()) };
        let place = *place;
        file[place + 40] ^= 1;
        fs::write(self.store_path(), file).unwrap();
    }

    /// Flips a bit of every place in the store's file where `bytes` are, as a failing disk does.
    pub fn damage_bytes(&self, bytes: &[u8]) {
        let mut file = fs::read(self.store_path()).unwrap();
        let places: Vec<_> = file.windows(bytes.len()).enumerate().filter(|(_, found)| *found == bytes).collect();
        let places: Vec<_> = places.into_iter().map(|(place, _)| place).collect();
        assert!(!places.is_empty(), "what is to be damaged is there");
        places.into_iter().for_each(|place| file[place + bytes.len() / 2] ^= 1);
        fs::write(self.store_path(), file).unwrap();
    }

    fn store_path(&self) -> PathBuf {
        self.dir.path().join(STORE)
    }

    /// Starts the node.
    pub async fn start(self, setup: Setup) -> TestNode {
        let node = self.try_start(setup).await.unwrap();
        TestNode::run(node, self)
    }

    /// Starts a node that must not start. Why it does not.
    pub async fn refused(self, setup: Setup) -> (StartError, Self) {
        (self.try_start(setup).await.unwrap_err(), self)
    }

    async fn try_start(&self, setup: Setup) -> Result<Node, StartError> {
        crate::log_to_stderr();
        let options = NodeOptions {
            config: setup.config,
            chain: self.chain.chain(),
            keypair: self.keypair.clone(),
            store: Arc::clone(&self.medium),
            peers_path: self.dir.path().join("peers.json"),
            evidence_path: self.dir.path().join("evidence"),
            kzg: kzg(),
            source: setup.source,
            archives: setup.archives,
        };
        Node::start(options, CancellationToken::new()).await
    }
}
