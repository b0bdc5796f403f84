//! Time from a request for one blob by its hash to the item, decoded; one request at a time on one connection.

use std::time::{Duration, Instant};

use lapis_p2p::Handle;
use lapis_protocol_spec::{Item, Request};
use libp2p::PeerId;
use libp2p_stream::Control;

use crate::{
    Extent, bare,
    chunks::{LimiterCost, limiter_cost},
    lapis,
    lapis::Node,
    pool::Pool,
    report::quantile,
    runtime,
    wire::{Wire, peer_of},
};

pub(crate) struct Quantiles {
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
}

impl Quantiles {
    fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        Self { p50: quantile(&times, 0.5), p99: quantile(&times, 0.99) }
    }
}

pub(crate) struct Latency {
    pub(crate) wire: Wire,
    pub(crate) lapis: Quantiles,
    /// The same chunk over a bare stream, to its last byte.
    pub(crate) bare: Quantiles,
    /// What the server's limiter took meanwhile.
    pub(crate) limiter: LimiterCost,
}

pub(crate) fn measure(wire: Wire, extent: Extent) -> Latency {
    let (pool, runtime) = (Pool::new(), runtime());
    runtime.block_on(async {
        let server = Node::server(wire, &pool).await;
        let (lapis, bare) = (server.address(), bare::serve(wire, pool.chunks()).await);
        let (handle, mut control) = (lapis::connect(&lapis, &pool).await, bare::connect(&bare).await);
        let (lapis, bare) = (peer_of(&lapis), peer_of(&bare));
        let (mut lapis_times, mut bare_times) = (Vec::new(), Vec::new());
        let warm_up = extent.requests / 10;
        for number in 0..warm_up + extent.requests {
            let lapis_time = first_item(&handle, lapis, &pool, number).await;
            let bare_time = one_chunk(&mut control, bare, number).await;
            if number >= warm_up {
                lapis_times.push(lapis_time);
                bare_times.push(bare_time);
            }
        }
        Latency {
            wire,
            lapis: Quantiles::of(lapis_times),
            bare: Quantiles::of(bare_times),
            limiter: limiter_cost(&server.metrics()),
        }
    })
}

async fn first_item(client: &Handle, server: PeerId, pool: &Pool, number: usize) -> Duration {
    let request = Request::BlobsByRoot(vec![pool.hash(number)].try_into().unwrap());
    let start = Instant::now();
    let mut exchange = client.request(server, request).await.unwrap();
    let item = exchange.next().await.unwrap();
    let time = start.elapsed();
    assert!(matches!(item, Some(Item::Blob(_))));
    assert!(exchange.next().await.unwrap().is_none());
    time
}

async fn one_chunk(client: &mut Control, server: PeerId, number: usize) -> Duration {
    let mut buffer = bare::read_buffer();
    let start = Instant::now();
    bare::exchange(client, server, (number, 1), &mut buffer, |_| ()).await;
    start.elapsed()
}
