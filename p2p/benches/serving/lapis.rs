//! A server and its clients, all of them Lapis.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use lapis_p2p::{Config, Event, Events, Handle, Limits, RateLimits, Service};
use lapis_protocol_spec::{BlobSidecar, Bytes32, Status};
use libp2p::{Multiaddr, PeerId, identity::Keypair};
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;

use crate::{
    pool::{PER_EXCHANGE, Pool, PoolProvider, request},
    wire::Wire,
};

/// What was raised, for the report.
pub(crate) const RAISED: &str = "connections and exchanges to 512, all request and byte quotas to 10^9 a second";

/// Far above the pool's heights: who reads them catches up.
const DECIDED: u64 = 1_000_000;

/// Everything that could throttle, out of the way.
fn limits() -> Limits {
    let mut limits = Limits { rates: RateLimits::ample(), ..Limits::default() };
    let connections = &mut limits.connections;
    (connections.total, connections.inbound, connections.pending_inbound) = (512, 512, 512);
    limits.exchanges.inbound = 512;
    // A measurement that is cut off leaves exchanges behind for a moment.
    limits.exchanges.inbound_per_protocol = 16;
    limits
}

pub(crate) struct Node {
    handle: Handle,
    events: Events,
    registry: Registry,
}

impl Node {
    async fn start(listen: Vec<Multiaddr>, pool: &Arc<Pool>) -> Self {
        let mut config = Config { listen, limits: limits(), ..Config::default() };
        config.discovery.target_peers = 0;
        // A hundred handshakes on two cores.
        (config.timeouts.connect, config.timeouts.handshake) = (Duration::from_secs(60), Duration::from_secs(60));
        let mut registry = Registry::default();
        let provider = Arc::new(PoolProvider(pool.clone()));
        let keypair = Keypair::generate_ed25519();
        let (mut service, handle, events) =
            Service::new(config, &keypair, Bytes32::from([7; 32]), provider, &mut registry).unwrap();
        service.bind().await.unwrap();
        handle.set_status(Status { decided_height: DECIDED, ..Status::default() });
        // Nobody stops it: it ends with its runtime.
        tokio::spawn(service.run(CancellationToken::new()));
        Self { handle, events, registry }
    }

    pub(crate) async fn server(wire: Wire, pool: &Arc<Pool>) -> Self {
        Self::start(vec![wire.listen()], pool).await
    }

    /// With the id of who listens there.
    pub(crate) fn address(&self) -> Multiaddr {
        self.handle.listen_addresses().remove(0)
    }

    /// Its metrics in their text format.
    pub(crate) fn metrics(&self) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
        text
    }
}

/// One more client for the server at `address`, ready.
pub(crate) async fn connect(address: &Multiaddr, pool: &Arc<Pool>) -> Handle {
    let mut client = Node::start(Vec::new(), pool).await;
    client.handle.dial(address.clone()).await.unwrap();
    while let Some(event) = client.events.next().await {
        if matches!(event, Event::PeerReady { .. }) {
            return client.handle;
        }
    }
    panic!("the client ended");
}

/// Takes exchange after exchange, for ever; every item is decoded, counted and dropped.
pub(crate) async fn take(client: Handle, server: PeerId, start: usize, taken: Arc<AtomicU64>) {
    loop {
        let mut exchange = client.request(server, request(start, PER_EXCHANGE)).await.unwrap();
        let mut items = 0;
        while let Some(item) = exchange.next().await.unwrap() {
            drop(item);
            items += 1;
            taken.fetch_add(BlobSidecar::BYTES as u64, Ordering::Relaxed);
        }
        assert_eq!(items, PER_EXCHANGE);
    }
}
