//! Bytes per second that one server gives to its peers, over Lapis and over bare streams in turns.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use tokio::task::JoinSet;

use crate::{
    Extent, bare,
    bare::Bare,
    lapis,
    lapis::Lapis,
    pool::{PER_EXCHANGE, Pool},
    report::median,
    runtime,
    wire::Wire,
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
        let lapis = Lapis::start(wire, pool, peers).await;
        let bare = Bare::start(wire, pool, peers).await;
        let mut pairs = Vec::new();
        for _ in 0..extent.runs {
            let rate = through_lapis(&lapis, streams, extent).await;
            pairs.push((rate, through_bare(&bare, streams, extent).await));
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

pub(crate) async fn through_lapis(lapis: &Lapis, streams: usize, extent: Extent) -> f64 {
    let (taken, mut tasks) = (Arc::new(AtomicU64::new(0)), JoinSet::new());
    for (number, client) in lapis.clients().enumerate() {
        for stream in 0..streams {
            let start = (number + stream * PER_EXCHANGE) + 1;
            tasks.spawn(lapis::take(client.clone(), lapis.server(), start, taken.clone()));
        }
    }
    rate(&taken, tasks, extent).await
}

pub(crate) async fn through_bare(bare: &Bare, streams: usize, extent: Extent) -> f64 {
    let (taken, mut tasks) = (Arc::new(AtomicU64::new(0)), JoinSet::new());
    for (number, client) in bare.clients().enumerate() {
        for stream in 0..streams {
            let start = (number + stream * PER_EXCHANGE) + 1;
            tasks.spawn(bare::take(client.clone(), bare.server(), start, taken.clone()));
        }
    }
    rate(&taken, tasks, extent).await
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
