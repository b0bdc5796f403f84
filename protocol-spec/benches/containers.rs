//! Sidecars encoded and decoded (against `ssz_rs`'s vector of bytes), value ids, certificates, proofs in batches.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::{hint::black_box, sync::Arc};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use ed25519_consensus::SigningKey;
use lapis_protocol_spec::{
    Blob, BlobSidecar, Bytes32, Bytes48, CommitCertificate, CommitSignature, DecidedValue, IdentifiedValue, Kzg,
    Matched, Validator, ValidatorSet, Value,
    certificate::{VoteKind, VoteSigningData},
    decode, encode,
};
use ssz_rs::Vector;

fn blob(seed: u64) -> Blob {
    let bytes: Vec<u8> =
        (0..4096).flat_map(|i| [[0; 24].to_vec(), ((seed << 32) + i).to_be_bytes().to_vec()].concat()).collect();
    Blob::from_slice(&bytes).unwrap()
}

fn sidecars(c: &mut Criterion) {
    let sidecar = BlobSidecar { height: 1, blob: blob(1), ..BlobSidecar::default() };
    let encoding = encode(&sidecar);
    let mut group = c.benchmark_group("sidecar");
    group.throughput(Throughput::Bytes(BlobSidecar::BYTES as u64));
    group.bench_function("encode", |b| b.iter(|| encode(black_box(&sidecar))));
    group.bench_function("decode", |b| b.iter(|| decode::<BlobSidecar>(black_box(&encoding)).unwrap()));
    let vector: Vector<u8, 131_072> = sidecar.blob.as_ref().to_vec().try_into().unwrap();
    let vector_encoding = encode(&vector);
    group.throughput(Throughput::Bytes(131_072));
    group.sample_size(20);
    group.bench_function("ssz_rs_vector/encode", |b| b.iter(|| encode(black_box(&vector))));
    group.bench_function("ssz_rs_vector/decode", |b| {
        b.iter(|| decode::<Vector<u8, 131_072>>(black_box(&vector_encoding)).unwrap());
    });
    group.finish();
}

fn value(blobs: usize) -> Value {
    let commitments = vec![Bytes48::from([7; 48]); blobs];
    Value { height: 1, blob_kzg_commitments: commitments.try_into().unwrap(), ..Value::default() }
}

fn values(c: &mut Criterion) {
    let mut group = c.benchmark_group("value");
    for blobs in [0, 6, 1024] {
        let value = value(blobs);
        let encoding = encode(&value);
        group.bench_function(format!("id/{blobs}"), |b| b.iter(|| black_box(&value).id()));
        group.bench_function(format!("encode/{blobs}"), |b| b.iter(|| encode(black_box(&value))));
        group.bench_function(format!("decode/{blobs}"), |b| {
            b.iter(|| decode::<Value>(black_box(&encoding)).unwrap());
        });
    }
    group.finish();
}

fn decided(validators: u8) -> (DecidedValue, ValidatorSet, Bytes32) {
    let keys: Vec<SigningKey> = (0..validators).map(|seed| SigningKey::from([seed; 32])).collect();
    let member = |key: &SigningKey| Validator { public_key: key.verification_key().to_bytes().into(), power: 1 };
    let set = ValidatorSet::new(keys.iter().map(member).collect()).unwrap();
    let genesis_id = Bytes32::from([1; 32]);
    let value = Value { validators_root: set.root(), ..value(6) };
    let value_id = value.id();
    let message = VoteSigningData::signing_bytes(genesis_id, VoteKind::Precommit, 1, 0, value_id);
    let sign = |key: &SigningKey| CommitSignature {
        address: member(key).address(),
        signature: key.sign(&message).to_bytes().into(),
    };
    let signatures = keys.iter().map(sign).collect::<Vec<_>>().try_into().unwrap();
    let certificate = CommitCertificate { height: 1, round: 0, value_id, signatures };
    (DecidedValue { value, certificate }, set, genesis_id)
}

fn certificates(c: &mut Criterion) {
    let mut group = c.benchmark_group("certificate");
    for validators in [4, 100] {
        let (decided, set, genesis_id) = decided(validators);
        let encoding = encode(&decided);
        group.bench_function(format!("check/{validators}"), |b| {
            b.iter(|| decided.check_certificate(black_box(&genesis_id), &set).unwrap());
        });
        group.bench_function(format!("decode/{validators}"), |b| {
            b.iter(|| decode::<DecidedValue>(black_box(&encoding)).unwrap());
        });
        group.bench_function(format!("encode/{validators}"), |b| b.iter(|| encode(black_box(&decided))));
    }
    group.finish();
}

fn proofs(c: &mut Criterion) {
    let kzg = Kzg::mainnet().unwrap();
    let pool: Vec<Matched<BlobSidecar>> = (0..8)
        .map(|seed| {
            let blob = blob(seed);
            let kzg_commitment = kzg.commit(&blob).unwrap();
            let kzg_proof = kzg.prove(&blob, &kzg_commitment).unwrap();
            let blob_kzg_commitments = vec![kzg_commitment].try_into().unwrap();
            let value = IdentifiedValue::new(Arc::new(Value { blob_kzg_commitments, ..Value::default() }));
            Matched::blob(BlobSidecar { height: 0, index: 0, kzg_commitment, kzg_proof, blob }, &value, 0).unwrap()
        })
        .collect();
    let batch = |count: usize| pool.iter().cycle().take(count).cloned().map(|s| ((), s)).collect::<Vec<_>>();
    let mut group = c.benchmark_group("kzg");
    group.sample_size(10);
    for count in [1, 6, 16, 64] {
        group.throughput(Throughput::Elements(count as u64));
        group.bench_function(format!("batch/{count}"), |b| {
            b.iter_batched(|| batch(count), |batch| kzg.verify_batch(batch), BatchSize::LargeInput);
        });
    }
    let wrong = {
        let mut sidecar = pool[0].clone().into_inner();
        sidecar.kzg_proof = pool[1].kzg_proof;
        Matched::blob(sidecar, pool[0].value(), 0).unwrap()
    };
    let one_wrong = || {
        let mut batch = batch(63);
        batch.insert(20, ((), wrong.clone()));
        batch
    };
    group.throughput(Throughput::Elements(64));
    group.bench_function("batch/64_one_wrong", |b| {
        b.iter_batched(one_wrong, |batch| kzg.verify_batch(batch), BatchSize::LargeInput);
    });
    group.bench_function("setup", |b| b.iter(|| Kzg::mainnet().unwrap()));
    group.finish();
}

criterion_group!(benches, sidecars, values, certificates, proofs);
criterion_main!(benches);
