//! Bytes per second that one server gives to its peers, over Lapis and over bare streams in turns.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use lapis_p2p::Handle;
use lapis_protocol_spec::BlobSidecar;
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
    /// Processor time of both ends per sidecar, in microseconds, medians. Unlike a rate it hardly depends on what else
    /// the machine does.
    pub(crate) lapis_cpu: f64,
    pub(crate) bare_cpu: f64,
}

/// One measurement.
#[derive(Clone, Copy)]
pub(crate) struct Rate {
    /// MiB per second.
    speed: f64,
    /// Processor time of this process per sidecar, in microseconds.
    cpu: f64,
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
        lapis: median(pairs.iter().map(|(lapis, _)| lapis.speed)),
        bare: median(pairs.iter().map(|(_, bare)| bare.speed)),
        ratio: median(pairs.iter().map(|(lapis, bare)| lapis.speed / bare.speed)),
        lapis_cpu: median(pairs.iter().map(|(lapis, _)| lapis.cpu)),
        bare_cpu: median(pairs.iter().map(|(_, bare)| bare.cpu)),
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

    /// How fast all read together.
    pub(crate) async fn rate(&self, streams: usize, extent: Extent) -> Rate {
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

    /// How fast all read together.
    pub(crate) async fn rate(&self, streams: usize, extent: Extent) -> Rate {
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

/// How fast `tasks`, which end only when they fail, add to `taken`.
async fn rate(taken: &AtomicU64, mut tasks: JoinSet<()>, extent: Extent) -> Rate {
    tokio::time::sleep(extent.warm_up).await;
    let (before, spent, start) = (taken.load(Ordering::Relaxed), cpu_seconds(), Instant::now());
    tokio::time::sleep(extent.window).await;
    let bytes = (taken.load(Ordering::Relaxed) - before) as f64;
    let (spent, time) = (cpu_seconds() - spent, start.elapsed());
    assert!(tasks.try_join_next().is_none(), "a reader failed");
    tasks.shutdown().await;
    let sidecars = bytes / BlobSidecar::BYTES as f64;
    Rate { speed: bytes / time.as_secs_f64() / f64::from(1 << 20), cpu: spent / sidecars * 1e6 }
}

/// Processor time of this process so far, all its threads, in user and kernel mode.
fn cpu_seconds() -> f64 {
    // proc(5): the fields after the name, which may hold anything, are numbered from 3; 14 and 15 are the times.
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    let ticks: u64 = fields.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum();
    ticks as f64 / 100.0
}
