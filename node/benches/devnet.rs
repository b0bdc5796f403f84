//! What a development network's data costs to make: blobs alone, and whole proposals with their verification.

use std::{hint::black_box, sync::Arc};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use lapis_node::devnet::{blobs::BlobFactory, chain_maker::ChainMaker, spec::DevnetParams};
use lapis_protocol_spec::Kzg;

fn blobs(c: &mut Criterion) {
    let factory = BlobFactory::new([1; 32]);
    let mut group = c.benchmark_group("blobs");
    group.throughput(Throughput::Elements(1));
    let mut counter = 0;
    group.bench_function("one", |b| {
        b.iter(|| {
            counter += 1;
            factory.blob(black_box(counter))
        });
    });
    group.throughput(Throughput::Elements(64));
    group.bench_function("64 on all cores", |b| b.iter(|| factory.blobs(black_box(0..64))));
    group.finish();
}

#[expect(clippy::expect_used, reason = "a bench has nobody to report to")]
fn proposals(c: &mut Criterion) {
    let kzg = Arc::new(Kzg::mainnet().expect("the built-in setup"));
    let chain = ChainMaker::new(&DevnetParams::new(4), kzg).expect("legal parameters");
    let mut group = c.benchmark_group("heights");
    group.sample_size(10);
    for blobs in [0_u64, 6, 64] {
        group.throughput(Throughput::Elements(blobs.max(1)));
        group.bench_function(format!("{blobs} blobs"), |b| {
            b.iter_batched_ref(|| chain.clone(), |chain| chain.next(blobs).expect("a block"), BatchSize::PerIteration);
        });
    }
    group.finish();
}

criterion_group!(benches, blobs, proposals);
criterion_main!(benches);
