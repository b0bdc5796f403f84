//! One node under test.

use std::{future::Future, sync::Arc, time::Duration};

use lapis_p2p::{
    Config, Event, Events, Exchange, ExchangeError, GoneReason, Handle, PeerInfo, Service, ServiceError, Timeouts,
};
use lapis_protocol_spec::{Bytes32, HeightRange, Item, Request, Status};
use libp2p::{Multiaddr, PeerId, identity::Keypair};
use prometheus_client::registry::Registry;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::provider::TestProvider;

pub(crate) const TCP: &str = "/ip4/127.0.0.1/tcp/0";
pub(crate) const QUIC: &str = "/ip4/127.0.0.1/udp/0/quic-v1";
pub(crate) const MEMORY: &str = "/memory/0";

/// The time limit around every wait: far beyond what anything takes.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future).await.expect("did not happen within a minute")
}

/// Looks again and again until `check` finds what it looks for.
pub(crate) async fn eventually<T, F: Future<Output = Option<T>>>(mut check: impl FnMut() -> F) -> T {
    within(async {
        loop {
            if let Some(found) = check().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
}

pub(crate) fn genesis() -> Bytes32 {
    Bytes32::from([7; 32])
}

/// Time limits that a busy machine does not reach. Tests of a limit set it themselves.
fn patient() -> Timeouts {
    let minute = Duration::from_secs(60);
    Timeouts {
        connect: minute,
        handshake: minute,
        permit: minute,
        request: minute,
        first_byte: minute,
        idle: minute,
        grace: minute * 60,
        goodbye: minute,
        drain: minute,
        ..Timeouts::default()
    }
}

pub(crate) struct Node {
    pub(crate) handle: Handle,
    pub(crate) events: Events,
    pub(crate) provider: Arc<TestProvider>,
    pub(crate) registry: Registry,
    pub(crate) shutdown: CancellationToken,
    pub(crate) running: JoinHandle<Result<(), ServiceError>>,
}

impl Node {
    pub(crate) async fn start(listen: &str) -> Self {
        Self::with(listen, genesis(), |_| {}).await
    }

    pub(crate) async fn with(listen: &str, genesis_id: Bytes32, change: impl FnOnce(&mut Config)) -> Self {
        Self::with_key(listen, &Keypair::generate_ed25519(), genesis_id, change).await
    }

    pub(crate) async fn with_key(
        listen: &str,
        keypair: &Keypair,
        genesis_id: Bytes32,
        change: impl FnOnce(&mut Config),
    ) -> Self {
        let listen = vec![listen.parse().unwrap()];
        let mut config = Config { listen, timeouts: patient(), ..Config::default() };
        // Nodes dial whom a test tells them to. Tests of discovery set it themselves.
        config.discovery.target_peers = 0;
        change(&mut config);
        let provider = Arc::new(TestProvider::default());
        let mut registry = Registry::default();
        let (mut service, handle, events) =
            Service::new(config, keypair, genesis_id, provider.clone(), &mut registry).unwrap();
        within(service.bind()).await.unwrap();
        let shutdown = CancellationToken::new();
        let running = tokio::spawn(service.run(shutdown.clone()));
        Self { handle, events, provider, registry, shutdown, running }
    }

    pub(crate) fn id(&self) -> PeerId {
        self.handle.local_peer_id()
    }

    pub(crate) fn address(&self) -> Multiaddr {
        self.handle.listen_addresses().remove(0)
    }

    /// Skips events until the one that `pick` takes.
    pub(crate) async fn event<T>(&mut self, mut pick: impl FnMut(Event) -> Option<T>) -> T {
        within(async {
            loop {
                let event = self.events.next().await.expect("the service ended");
                if let Some(found) = pick(event) {
                    return found;
                }
            }
        })
        .await
    }

    pub(crate) async fn ready(&mut self) -> (PeerId, Status) {
        self.event(|event| match event {
            Event::PeerReady { peer, status } => Some((peer, status)),
            _ => None,
        })
        .await
    }

    pub(crate) async fn gone(&mut self) -> (PeerId, GoneReason) {
        self.event(|event| match event {
            Event::PeerGone { peer, reason } => Some((peer, reason)),
            _ => None,
        })
        .await
    }

    pub(crate) async fn info(&self, peer: PeerId) -> Option<PeerInfo> {
        within(self.handle.peers()).await.unwrap().into_iter().find(|info| info.peer == peer)
    }

    /// Waits until what is known of `peer` passes `check`.
    pub(crate) async fn info_when(&self, peer: PeerId, check: impl Fn(&PeerInfo) -> bool) -> PeerInfo {
        eventually(|| async { self.info(peer).await.filter(|info| check(info)) }).await
    }

    pub(crate) async fn request(&self, peer: PeerId, request: Request) -> Exchange {
        within(self.handle.request(peer, request)).await.unwrap()
    }

    pub(crate) fn metrics(&self) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
        text
    }

    /// Waits until a line of the metrics reads so.
    pub(crate) async fn metric(&self, line: &str) {
        eventually(|| async { self.metrics().lines().any(|found| found == line).then_some(()) }).await;
    }

    pub(crate) async fn stop(self) -> Result<(), ServiceError> {
        self.shutdown.cancel();
        within(self.running).await.unwrap()
    }
}

/// `a` dials `b`; both are ready.
pub(crate) async fn connect(a: &mut Node, b: &mut Node) {
    assert_eq!(within(a.handle.dial(b.address())).await.unwrap(), b.id());
    assert_eq!(a.ready().await.0, b.id());
    assert_eq!(b.ready().await.0, a.id());
}

pub(crate) async fn pair(listen: &str) -> (Node, Node) {
    let (mut a, mut b) = (Node::start(listen).await, Node::start(listen).await);
    connect(&mut a, &mut b).await;
    (a, b)
}

pub(crate) fn blobs(start: u64, count: u64) -> Request {
    Request::BlobsByRange(HeightRange::new(start, count))
}

/// Reads a response to its end.
pub(crate) async fn all(exchange: &mut Exchange) -> Result<Vec<Item>, ExchangeError> {
    let mut items = Vec::new();
    while let Some(item) = within(exchange.next()).await? {
        items.push(item);
    }
    Ok(items)
}
