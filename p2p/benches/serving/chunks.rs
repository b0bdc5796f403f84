//! What one chunk the size of a sidecar costs in framing and in the limiter.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use lapis_p2p::ChunkBuffer;
use lapis_protocol_spec::{
    Item, Method,
    framing::{ResponseChunk, ResponseDecoder},
};

use crate::{Extent, pool::Pool};

/// What one read from a multiplexed connection typically brings.
const READ: usize = 16 * 1024;

/// Times per chunk, of incompressible bytes from the whole pool.
pub(crate) struct Chunks {
    /// Snappy, checksums and prefix, into a buffer that is used again.
    pub(crate) encode: Duration,
    /// Back to SSZ bytes.
    pub(crate) decode: Duration,
    /// SSZ bytes to a sidecar.
    pub(crate) item: Duration,
}

pub(crate) fn measure(extent: Extent) -> Chunks {
    let pool = Pool::new();
    let (chunks, mut out) = (pool.chunks(), ChunkBuffer::new(Method::BlobsByRange));
    let mut decoder = ResponseDecoder::new(Method::BlobsByRange.response_bounds());
    let encode = per_chunk(extent.chunks, |number| {
        black_box(pool.encode(number, &mut out)).unwrap();
    });
    let decode = per_chunk(extent.chunks, |number| {
        black_box(decoded(&mut decoder, &chunks[number % chunks.len()]));
    });
    let ssz: Vec<_> = chunks.iter().map(|chunk| decoded(&mut decoder, chunk)).collect();
    let item = per_chunk(extent.chunks, |number| match &ssz[number % ssz.len()] {
        ResponseChunk::Success(bytes) => drop(black_box(Item::decode(Method::BlobsByRange, bytes).unwrap())),
        ResponseChunk::Error { .. } => panic!("an error chunk"),
    });
    Chunks { encode, decode, item }
}

fn decoded(decoder: &mut ResponseDecoder, chunk: &[u8]) -> ResponseChunk {
    let mut found = None;
    for read in chunk.chunks(READ) {
        found = decoder.push(read).unwrap().chunk;
    }
    found.unwrap()
}

fn per_chunk(count: usize, mut work: impl FnMut(usize)) -> Duration {
    (0..count / 10).for_each(&mut work);
    let start = Instant::now();
    (0..count).for_each(&mut work);
    start.elapsed() / u32::try_from(count).unwrap()
}

/// Time in the server's limiter when nothing waits, as its own metrics have it: both bucket levels, the queue and the
/// clock.
pub(crate) struct LimiterCost {
    /// One request.
    pub(crate) request: Duration,
    /// One sidecar: what it is expected to have before it is read, and what it has beyond that.
    pub(crate) chunk: Duration,
}

/// Reads the cost of one request and of one chunk of `blobs_by_root` from a server's metrics.
pub(crate) fn limiter_cost(metrics: &str) -> LimiterCost {
    let value = |name: &str| -> f64 {
        let line = metrics.lines().find_map(|line| line.strip_prefix(name)).expect("the metric is there");
        line.trim().parse().unwrap()
    };
    let wait =
        |part: &str, bucket: &str| value(&format!(r#"lapis_p2p_limiter_wait_seconds_{part}{{bucket="{bucket}"}}"#));
    let chunks = value(r#"lapis_p2p_chunks_total{protocol="blobs_by_root",side="server"}"#);
    LimiterCost {
        request: Duration::from_secs_f64(wait("sum", "requests") / wait("count", "requests")),
        chunk: Duration::from_secs_f64(wait("sum", "egress") / chunks),
    }
}
