//! Bytes per second that one server gives to its peers, over Lapis and over bare streams in turns.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use lapis_p2p::Handle;
use libp2p::{Multiaddr, PeerId};
use libp2p_stream::Control;
use tokio::task::JoinSet;

use crate::{
    Extent, bare, lapis,
    lapis::Node,
    pool::{PER_EXCHANGE, Pool},
    report::median,
    runtime,
    wire::{Wire, peer_of},
};

/// Peers, and streams of each at a time; the protocol allows two.
const SHAPES: [(usize, usize); 3] = [(1, 1), (1, 2), (100, 1)];

pub(crate) struct Throughput {
    pub(crate) wire: Wire,
    pub(crate) peers: usize,
    pub(crate) streams: usize,
    /// MiB per second, medians.
    pub(crate) lapis: f64,
    pub(crate) bare: f64,
    /// Median over the pairs of runs, each of which saw the same machine.
    pub(crate) ratio: f64,
}

pub(crate) fn measure(wire: Wire, extent: Extent) -> Vec<Throughput> {
    let pool = Pool::new();
    SHAPES.into_iter().map(|(peers, streams)| one_shape(wire, &pool, peers, streams, extent)).collect()
}

fn one_shape(wire: Wire, pool: &Arc<Pool>, peers: usize, streams: usize, extent: Extent) -> Throughput {
    let runtime = runtime();
    let pairs = runtime.block_on(async {
        let (server, bare) = (Node::server(wire, pool).await, bare::serve(wire, pool.chunks()).await);
        let lapis = LapisClients::connect(&server.address(), pool, peers).await;
        let bare = BareClients::connect(&bare, peers).await;
        let mut pairs = Vec::new();
        for _ in 0..extent.runs {
            let rate = lapis.rate(streams, extent).await;
            pairs.push((rate, bare.rate(streams, extent).await));
        }
        pairs
    });
    Throughput {
        wire,
        peers,
        streams,
        lapis: median(pairs.iter().map(|(lapis, _)| *lapis)),
        bare: median(pairs.iter().map(|(_, bare)| *bare)),
        ratio: median(pairs.iter().map(|(lapis, bare)| lapis / bare)),
    }
}

/// Clients of one Lapis server.
pub(crate) struct LapisClients(PeerId, Vec<Handle>);

impl LapisClients {
    pub(crate) async fn connect(address: &Multiaddr, pool: &Arc<Pool>, peers: usize) -> Self {
        let mut clients = Vec::new();
        for _ in 0..peers {
            clients.push(lapis::connect(address, pool).await);
        }
        Self(peer_of(address), clients)
    }

    /// MiB per second that all read together.
    pub(crate) async fn rate(&self, streams: usize, extent: Extent) -> f64 {
        let (taken, mut tasks) = (Arc::new(AtomicU64::new(0)), JoinSet::new());
        for (client, start) in each_stream(&self.1, streams) {
            tasks.spawn(lapis::take(client.clone(), self.0, start, taken.clone()));
        }
        rate(&taken, tasks, extent).await
    }
}

/// Clients of one bare server.
pub(crate) struct BareClients(PeerId, Vec<Control>);

impl BareClients {
    pub(crate) async fn connect(address: &Multiaddr, peers: usize) -> Self {
        let mut clients = Vec::new();
        for _ in 0..peers {
            clients.push(bare::connect(address).await);
        }
        Self(peer_of(address), clients)
    }

    /// MiB per second that all read together.
    pub(crate) async fn rate(&self, streams: usize, extent: Extent) -> f64 {
        let (taken, mut tasks) = (Arc::new(AtomicU64::new(0)), JoinSet::new());
        for (client, start) in each_stream(&self.1, streams) {
            tasks.spawn(bare::take(client.clone(), self.0, start, taken.clone()));
        }
        rate(&taken, tasks, extent).await
    }
}

/// Every stream of every client, with the height at which it begins.
fn each_stream<C>(clients: &[C], streams: usize) -> impl Iterator<Item = (&C, usize)> {
    clients
        .iter()
        .enumerate()
        .flat_map(move |(number, client)| (0..streams).map(move |stream| (client, 1 + number + stream * PER_EXCHANGE)))
}

/// MiB per second that `tasks`, which end only when they fail, add to `taken`.
async fn rate(taken: &AtomicU64, mut tasks: JoinSet<()>, extent: Extent) -> f64 {
    tokio::time::sleep(extent.warm_up).await;
    let (before, start) = (taken.load(Ordering::Relaxed), Instant::now());
    tokio::time::sleep(extent.window).await;
    let (bytes, time) = (taken.load(Ordering::Relaxed) - before, start.elapsed());
    assert!(tasks.try_join_next().is_none(), "a reader failed");
    tasks.shutdown().await;
    bytes as f64 / time.as_secs_f64() / f64::from(1 << 20)
}
