//! Work on bytes in memory: hash, framing. One thread; bytes of SSZ per second.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use lapis_p2p::ChunkBuffer;
use lapis_protocol_spec::{
    BlobSidecar, Matched, Method, encode,
    framing::{ResponseChunk, ResponseDecoder},
};
use sha2::{Digest, Sha256};

use crate::bench::error::BenchError;

/// What one read from a multiplexed connection typically brings.
const READ: usize = 16 * 1024;

/// Bytes per second.
#[derive(Clone, Copy, Debug)]
pub(in crate::bench) struct Bytes {
    pub(in crate::bench) hash: f64,
    pub(in crate::bench) encode: f64,
    pub(in crate::bench) decode: f64,
}

/// Measures each for `window`.
pub(in crate::bench) fn measure(sample: &[Matched<BlobSidecar>], window: Duration) -> Result<Bytes, BenchError> {
    let encodings: Vec<Vec<u8>> = sample.iter().map(|sidecar| encode(&**sidecar)).collect();
    let mut out = ChunkBuffer::new(Method::BlobsByRange);
    let mut chunks = Vec::with_capacity(encodings.len());
    for encoding in &encodings {
        out.encode(&[encoding]).map_err(|_| BenchError::Framing)?;
        chunks.push(out.bytes().to_vec());
    }
    let mut decoder = ResponseDecoder::new(Method::BlobsByRange.response_bounds());
    let hash = per_second(window, &encodings, |encoding| {
        black_box(Sha256::digest(encoding));
        Some(())
    });
    let encode = per_second(window, &encodings, |encoding| black_box(out.encode(&[encoding])).ok().map(drop));
    let decode = per_second(window, &chunks, |chunk| decoded(&mut decoder, chunk).map(|bytes| drop(black_box(bytes))));
    Ok(Bytes { hash: hash?, encode: encode?, decode: decode? })
}

fn decoded(decoder: &mut ResponseDecoder, chunk: &[u8]) -> Option<bytes::Bytes> {
    let mut found = None;
    for read in chunk.chunks(READ) {
        found = decoder.push(read).ok()?.chunk;
    }
    match found? {
        ResponseChunk::Success(bytes) => Some(bytes),
        ResponseChunk::Error { .. } => None,
    }
}

/// Bytes of SSZ per second that `work` does, called with one piece after another; `None` of it is a failure.
fn per_second(
    window: Duration,
    pieces: &[Vec<u8>],
    mut work: impl FnMut(&[u8]) -> Option<()>,
) -> Result<f64, BenchError> {
    let (started, mut bytes) = (Instant::now(), 0_usize);
    for piece in pieces.iter().cycle() {
        if started.elapsed() >= window {
            break;
        }
        work(piece).ok_or(BenchError::Framing)?;
        bytes += BlobSidecar::BYTES;
    }
    Ok(bytes as f64 / started.elapsed().as_secs_f64())
}
