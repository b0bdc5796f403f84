//! A real `lapis run` that imports into a client, and the node that it gets the chain from.

use std::{path::Path, sync::Arc, time::Duration};

use lapis_node::{
    config::EngineKind,
    devnet::chain_maker::Block,
    node::Source,
    source::{self, Proposal, SourceHandle},
    status::NodeStatus,
};
use lapis_protocol_spec::Height;
use libp2p::Multiaddr;
use tokio::time::{Instant, sleep};

use super::ExecutionClient;
use crate::{Home, PATIENCE, Process, Program, Setup, TestChain, TestNode};

/// Time between two looks at a node.
const LOOK: Duration = Duration::from_millis(10);

/// A node in this process that decides what it is told to, as consensus would, and serves it.
#[derive(Debug)]
pub struct Live {
    node: TestNode,
    source: SourceHandle,
}

impl Live {
    /// A node that has nothing yet.
    pub async fn start(chain: &Arc<TestChain>) -> Self {
        let (source, commands) = source::channel();
        let mut setup = Setup::default().source(Source::Local(commands));
        // Whether the blocks are any good is for others to find out.
        setup.config.engine.kind = EngineKind::None;
        let node = Home::new(chain).start(setup).await;
        Self { node, source }
    }

    /// Where it listens.
    pub fn address(&self) -> Multiaddr {
        self.node.address()
    }

    /// Connects to the node that says this of itself.
    pub async fn dial(&self, status: &NodeStatus) {
        self.node.dial(status.addresses[0].clone()).await;
    }

    /// Decides `blocks`, the next ones.
    pub async fn decide(&self, blocks: &[Block]) {
        for block in blocks {
            let Block { decided, value, payload, blobs } = block.clone();
            let round = decided.certificate.round;
            self.source.propose(Proposal { round, value, payload, blobs }).await.unwrap();
            self.source.decide(decided.into()).await.unwrap();
        }
    }

    /// Nothing was found wrong with any of its peers.
    pub async fn assert_blames_nobody(&self) {
        for peer in self.node.handle().network.peers().await.unwrap() {
            self.node.assert_unblemished(peer.peer).await;
        }
    }
}

/// `lapis run` with the engine `engine-api`.
#[derive(Debug)]
pub struct Importer {
    program: Program,
    process: Option<Process>,
}

impl Importer {
    /// A node with an empty store, which does not run yet.
    pub fn new(chain: &TestChain) -> Self {
        Self { program: Program::init(chain), process: None }
    }

    /// A node whose store holds the chain, which does not run yet.
    pub fn holding(chain: &TestChain) -> Self {
        let importer = Self::new(chain);
        chain.fill(&importer.program.store(), chain.blocks(), |_, _| false);
        importer
    }

    /// Runs it with `client`.
    pub async fn run(&mut self, peers: &[Multiaddr], client: &ExecutionClient) {
        self.run_with(peers, &client.engine_url(), &client.jwt_secret()).await;
    }

    /// Runs it with this Engine API and this secret.
    pub async fn run_with(&mut self, peers: &[Multiaddr], url: &str, jwt_secret: &Path) {
        let secret = jwt_secret.display().to_string();
        let settings = [
            ("LAPIS_ENGINE", "engine-api"),
            ("LAPIS_ENGINE_URL", url),
            ("LAPIS_JWT_SECRET", &secret),
            // They come from this machine, and no more peers are wanted than these.
            ("LAPIS_NETWORK__TARGET_PEERS", "0"),
            ("LAPIS_LIMITS__FETCH_BYTES_TOTAL", "2GiB"),
            // How fast a client answers is not what is tried.
            ("LAPIS_ENGINE__CALL_TIMEOUT", "10s"),
            ("LAPIS_ENGINE__GET_BLOBS_HEAD_START", "10s"),
        ];
        self.process = Some(self.program.run(peers, &settings).await);
    }

    /// What it says now.
    pub async fn status(&self) -> NodeStatus {
        let process = self.process.as_ref().expect("it runs");
        process.status().await.expect("a running node answers")
    }

    /// Waits until what it says is as `wanted`.
    pub async fn until(&self, what: &str, wanted: impl Fn(&NodeStatus) -> bool) -> NodeStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let status = self.status().await;
            if wanted(&status) {
                return status;
            }
            assert!(Instant::now() < deadline, "waited {PATIENCE:?} in vain: {what}\n{status:#?}");
            sleep(LOOK).await;
        }
    }

    /// Waits until its client has `height`.
    pub async fn imported(&self, height: Height) -> NodeStatus {
        self.until(&format!("import of height {height}"), |status| status.imported_height >= height).await
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.process.take().expect("it runs").kill();
    }

    /// SIGTERM, and waits until it has ended in order.
    pub async fn stop(&mut self) {
        self.process.take().expect("it runs").stop().await;
    }
}
