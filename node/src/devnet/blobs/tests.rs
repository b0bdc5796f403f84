#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::{
    collections::HashSet,
    io::{Read, Write},
};

use lapis_protocol_spec::{BlobSidecar, Bytes32, IdentifiedValue, Matched, Value, encode, versioned_hash};
use ssz_rs::List;

use super::*;
use crate::devnet::fixtures::kzg;

/// A value that commits to `blobs`, and their sidecars through the first gate.
fn matched(blobs: &[CommittedBlob]) -> Vec<(u64, Matched<BlobSidecar>)> {
    let commitments: Vec<_> = blobs.iter().map(|blob| blob.commitment).collect();
    let value = Value { height: 1, blob_kzg_commitments: List::try_from(commitments).unwrap(), ..Value::default() };
    let value = IdentifiedValue::new(value.into());
    let sidecar = |index, CommittedBlob { blob, commitment, proof }: &CommittedBlob| BlobSidecar {
        height: 1,
        index,
        kzg_commitment: *commitment,
        kzg_proof: *proof,
        blob: blob.clone(),
    };
    (0..).zip(blobs).map(|(i, blob)| (i, Matched::blob(sidecar(i, blob), &value, i).unwrap())).collect()
}

#[test]
fn commitment_and_proof_are_those_of_the_kzg_library() {
    for counter in [0, u64::MAX] {
        let made = BlobFactory::new([3; 32]).blob(counter);
        let commitment = kzg().commit(&made.blob).unwrap();
        assert_eq!(made.commitment, commitment);
        assert_eq!(made.proof, kzg().prove(&made.blob, &commitment).unwrap());
    }
}

#[test]
fn every_proof_of_a_batch_verifies() {
    let blobs = BlobFactory::new([4; 32]).blobs(0..96);
    let outcome = kzg().verify_batch(matched(&blobs));
    assert_eq!((outcome.verified.len(), outcome.faulty.len()), (96, 0));
}

#[test]
fn a_proof_of_another_blob_is_found() {
    let mut blobs = BlobFactory::new([5; 32]).blobs(0..4);
    blobs[2].proof = blobs[1].proof;
    let outcome = kzg().verify_batch(matched(&blobs));
    assert_eq!(outcome.faulty.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [2]);
}

#[test]
fn no_two_blobs_are_the_same() {
    let factory = BlobFactory::new([6; 32]);
    let rounds = [(1, 0), (1, 1), (2, 0)].map(|(height, round)| factory.for_round(height, round));
    let sequences = rounds.iter().chain([&factory]);
    let blobs: Vec<_> = sequences.flat_map(|sequence| sequence.blobs(0..20)).collect();
    let hashes: HashSet<Bytes32> = blobs.iter().map(|blob| versioned_hash(&blob.commitment)).collect();
    let contents: HashSet<&[u8]> = blobs.iter().map(|blob| blob.blob.as_ref()).collect();
    assert_eq!((hashes.len(), contents.len()), (80, 80));
}

#[test]
fn blobs_follow_from_seed_and_counter_alone() {
    let blobs = BlobFactory::new([7; 32]).blobs(10..40);
    for (counter, blob) in (10..).zip(&blobs) {
        assert_eq!(BlobFactory::new([7; 32]).blob(counter), *blob);
    }
    assert_ne!(BlobFactory::new([8; 32]).blob(10), blobs[0]);
}

#[test]
fn blobs_do_not_compress() {
    let sidecar = matched(&[BlobFactory::new([9; 32]).blob(0)]).remove(0).1.into_inner();
    let mut compressed = snap::write::FrameEncoder::new(Vec::new());
    compressed.write_all(&encode(&sidecar)).unwrap();
    let compressed = compressed.into_inner().unwrap();
    assert!(compressed.len() >= BYTES_PER_BLOB, "{} bytes", compressed.len());
    let mut back = Vec::new();
    snap::read::FrameDecoder::new(compressed.as_slice()).read_to_end(&mut back).unwrap();
    assert_eq!(back.len(), BlobSidecar::BYTES);
}
