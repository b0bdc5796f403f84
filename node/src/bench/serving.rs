//! What serving costs: `blobs_by_range` from a store, decoded and dropped, beside a plain stream of the same transport.
//!
//! The server is a process of its own, the reader is this one. The two are measured in turns, so that both see the same
//! machine.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use lapis_protocol_spec::{
    BlobSidecar, Bytes32, Height, HeightRange, MAX_CONCURRENT_REQUESTS, MAX_REQUEST_HEIGHTS, Request,
};
use libp2p::Multiaddr;
use tokio::task::JoinSet;

use super::{ceilings::median, error::BenchError, limits::unthrottled, options::Extent, plain::PlainClient, stream};
use crate::fetch::{FetchError, Session};

/// Blobs of one exchange, if they are not those of a single height: 16 MiB.
const PER_EXCHANGE: u64 = 128;
/// What is not counted before a measurement.
const WARM_UP: Duration = Duration::from_millis(150);
/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(10);

/// Bytes per second over one transport, and their ratio in the same turn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Throughput {
    pub(super) lapis: f64,
    pub(super) plain: f64,
    pub(super) ratio: f64,
}

/// The chain that is served.
#[derive(Clone, Copy, Debug)]
pub(super) struct Served {
    pub(super) genesis_id: Bytes32,
    pub(super) heights: u64,
    pub(super) blobs: u64,
}

/// Bytes per second that plain streams to `address` carry.
pub(super) async fn plain(address: &Multiaddr, extent: &Extent) -> Result<f64, BenchError> {
    let client = Arc::new(PlainClient::connect(address).await?);
    let mut rates = Vec::new();
    for _ in 0..extent.windows.max(1) {
        rates.push(plain_rate(&client, extent.window).await?);
    }
    median(rates).ok_or(BenchError::Nothing("reading streams"))
}

/// Both, in turns. Addresses of the Lapis server and of the plain one.
pub(super) async fn both(
    lapis: &Multiaddr,
    plain: &Multiaddr,
    served: Served,
    extent: &Extent,
) -> Result<Throughput, BenchError> {
    let config = unthrottled(Vec::new());
    let session = Session::open_with(config, lapis.clone(), served.genesis_id, CONNECT).await.map_err(Box::new)?;
    let (session, client) = (Arc::new(session), Arc::new(PlainClient::connect(plain).await?));
    let mut turns = Vec::new();
    for _ in 0..extent.windows.max(1) {
        let lapis = lapis_rate(&session, served, extent.window).await?;
        turns.push((lapis, plain_rate(&client, extent.window).await?));
    }
    let nothing = || BenchError::Nothing("serving");
    let throughput = Throughput {
        lapis: median(turns.iter().map(|(lapis, _)| *lapis)).ok_or_else(nothing)?,
        plain: median(turns.iter().map(|(_, plain)| *plain)).ok_or_else(nothing)?,
        ratio: median(turns.iter().map(|(lapis, plain)| lapis / plain)).ok_or_else(nothing)?,
    };
    if let Some(session) = Arc::into_inner(session) {
        session.close().await;
    }
    Ok(throughput)
}

async fn plain_rate(client: &Arc<PlainClient>, window: Duration) -> Result<f64, BenchError> {
    rate(window, |_, taken| {
        let client = Arc::clone(client);
        async move { stream::take(&client, PER_EXCHANGE, taken).await.map_err(BenchError::from) }
    })
    .await
}

async fn lapis_rate(session: &Arc<Session>, served: Served, window: Duration) -> Result<f64, BenchError> {
    rate(window, |number, taken| {
        let session = Arc::clone(session);
        async move { take(&session, served, number, &taken).await.map_err(|error| Box::new(error).into()) }
    })
    .await
}

/// Takes exchange after exchange; every sidecar is decoded, counted and dropped. Ends when it fails.
async fn take(session: &Session, served: Served, number: u64, taken: &AtomicU64) -> Result<(), FetchError> {
    let count = (PER_EXCHANGE / served.blobs.max(1)).clamp(1, MAX_REQUEST_HEIGHTS).min(served.heights);
    let starts = served.heights.saturating_sub(count).saturating_add(1);
    let mut step: Height = number.saturating_mul(count);
    loop {
        let range = HeightRange::new(1 + step % starts, count);
        let mut exchange = session.request(Request::BlobsByRange(range)).await?;
        let mut items = 0_u64;
        while let Some(item) = exchange.next().await? {
            drop(item);
            items += 1;
            taken.fetch_add(BlobSidecar::BYTES as u64, Ordering::Relaxed);
        }
        if items == 0 {
            return Err(FetchError::NotHeld { height: range.start_height });
        }
        step = step.saturating_add(count);
    }
}

/// Bytes per second that as many readers as the protocol allows a peer add to a common count. A reader ends only when it
/// fails.
async fn rate<F>(window: Duration, reader: impl Fn(u64, Arc<AtomicU64>) -> F) -> Result<f64, BenchError>
where
    F: Future<Output = Result<(), BenchError>> + Send + 'static,
{
    let (taken, mut readers) = (Arc::new(AtomicU64::new(0)), JoinSet::new());
    for number in 0..MAX_CONCURRENT_REQUESTS as u64 {
        readers.spawn(reader(number, Arc::clone(&taken)));
    }
    let measured = async {
        tokio::time::sleep(WARM_UP).await;
        let (before, started) = (taken.load(Ordering::Relaxed), Instant::now());
        tokio::time::sleep(window).await;
        (taken.load(Ordering::Relaxed) - before) as f64 / started.elapsed().as_secs_f64()
    };
    let rate = tokio::select! {
        rate = measured => rate,
        Some(ended) = readers.join_next() => return Err(ended?.err().unwrap_or(BenchError::Nothing("reading"))),
    };
    readers.shutdown().await;
    Ok(rate)
}
