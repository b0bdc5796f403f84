//! Encoding and decoding of one chunk the size of a blob sidecar, in bytes of payload per second.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use lapis_protocol_spec::framing::{Encoder, LengthBounds, ResponseChunk, ResponseDecoder};

/// Bytes of a `BlobSidecar`: height, index, commitment, proof, blob.
const SIDECAR: usize = 131_184;
const BOUNDS: LengthBounds = LengthBounds::fixed(SIDECAR);

/// What one read from a multiplexed connection typically brings.
const READ: usize = 16 * 1024;

/// Bytes of a xorshift generator: nothing for snappy to find.
fn incompressible() -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    })
    .flatten()
    .take(SIDECAR)
    .collect()
}

/// Random bytes in the first half of every 64, zeros in the second: like sparsely used field elements.
fn compressible() -> Vec<u8> {
    let mut payload = incompressible();
    for row in payload.chunks_mut(64) {
        let half = row.len() / 2;
        row[half..].fill(0);
    }
    payload
}

fn wire(payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    Encoder::new().chunk(BOUNDS, &[payload], &mut out).expect("within bounds");
    out
}

fn decode(decoder: &mut ResponseDecoder, wire: &[u8], read: usize) -> ResponseChunk {
    let mut chunk = None;
    for slice in wire.chunks(read) {
        chunk = decoder.push(slice).expect("valid").chunk;
    }
    chunk.expect("complete")
}

fn framing(c: &mut Criterion) {
    let payloads =
        [("incompressible", incompressible()), ("compressible", compressible()), ("zeros", vec![0; SIDECAR])];
    let mut group = c.benchmark_group("framing");
    group.throughput(Throughput::Bytes(SIDECAR as u64));
    for (name, payload) in &payloads {
        // As a sidecar comes out of a store: metadata, then the blob in two large pieces and a small one.
        let (head, blob) = payload.split_at(112);
        let (first, blob) = blob.split_at(65_500);
        let (second, last) = blob.split_at(65_500);
        let (mut encoder, mut out) = (Encoder::new(), Vec::new());
        group.bench_function(format!("encode/{name}"), |b| {
            b.iter(|| encoder.chunk(BOUNDS, black_box(&[head, first, second, last]), &mut out).expect("within bounds"));
        });
        let wire = wire(payload);
        for (how, read) in [("whole", wire.len()), ("reads", READ)] {
            let mut decoder = ResponseDecoder::new(BOUNDS);
            group.bench_function(format!("decode/{name}/{how}"), |b| {
                b.iter(|| decode(&mut decoder, black_box(&wire), read));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, framing);
criterion_main!(benches);
