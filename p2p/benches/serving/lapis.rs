//! A server and its clients, all of them Lapis.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use lapis_p2p::{Config, Event, Events, Handle, Limits, Quota, Service};
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
    let ample = Quota::new(1_000_000_000, 1_000_000_000).unwrap();
    let mut limits = Limits::default();
    let connections = &mut limits.connections;
    (connections.total, connections.inbound, connections.pending_inbound) = (512, 512, 512);
    limits.exchanges.inbound = 512;
    // A measurement that is cut off leaves exchanges behind for a moment.
    limits.exchanges.inbound_per_protocol = 16;
    let rates = &mut limits.rates;
    for quota in [
        &mut rates.requests_per_peer,
        &mut rates.requests,
        &mut rates.egress_kib_per_peer,
        &mut rates.egress_kib,
        &mut rates.own_requests_per_peer,
        &mut rates.own_requests,
        &mut rates.ingress_kib_per_peer,
        &mut rates.ingress_kib,
    ] {
        *quota = ample;
    }
    limits
}

struct Node {
    handle: Handle,
    events: Events,
    registry: Registry,
}

async fn start(listen: Vec<Multiaddr>, pool: &Arc<Pool>) -> Node {
    let mut config = Config { listen, limits: limits(), ..Config::default() };
    config.discovery.target_peers = 0;
    // A hundred handshakes at a time on two cores.
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
    Node { handle, events, registry }
}

async fn ready(events: &mut Events) {
    while let Some(event) = events.next().await {
        if matches!(event, Event::PeerReady { .. }) {
            return;
        }
    }
    panic!("a node ended");
}

pub(crate) struct Lapis {
    server: Node,
    clients: Vec<Node>,
}

impl Lapis {
    /// A server with so many peers, all ready.
    pub(crate) async fn start(wire: Wire, pool: &Arc<Pool>, peers: usize) -> Self {
        let mut server = start(vec![wire.listen()], pool).await;
        let address = server.handle.listen_addresses().remove(0);
        let mut clients = Vec::new();
        for _ in 0..peers {
            let mut client = start(Vec::new(), pool).await;
            client.handle.dial(address.clone()).await.unwrap();
            ready(&mut client.events).await;
            ready(&mut server.events).await;
            clients.push(client);
        }
        Self { server, clients }
    }

    pub(crate) fn server(&self) -> PeerId {
        self.server.handle.local_peer_id()
    }

    pub(crate) fn clients(&self) -> impl Iterator<Item = Handle> {
        self.clients.iter().map(|client| client.handle.clone())
    }

    /// The server's metrics in their text format.
    pub(crate) fn metrics(&self) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.server.registry).unwrap();
        text
    }
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
