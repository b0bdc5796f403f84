//! Stores that earlier versions wrote: opened, migrated, and found to hold what they held.
//!
//! `tests/data` has a store of each earlier schema, all made by [`fill`]. What this version makes of such a file is
//! compared with what [`fill`] makes now.

use std::{num::NonZeroU64, path::Path};

use blstrs::{G1Affine, Scalar};
use ff::PrimeField;
use lapis_protocol_spec::{Blob, BlobSidecar, Bytes48};
use lapis_storage::{Batch, PruneKind, PruneOptions, Store, StoreConfig};
use tempfile::TempDir;

use crate::fixture::{Chain, Proposal, at, plain_commitment};

/// Where to leave a store of the schema of this version, for the versions to come.
const SAMPLE: &str = "LAPIS_STORE_SAMPLE";

/// A blob that compresses to nothing: a polynomial of degree 0 has one value everywhere, and its proof is the point at
/// infinity.
fn plain_sidecar(seed: u64) -> BlobSidecar {
    let value = Scalar::from(seed + 1) * Scalar::ROOT_OF_UNITY;
    let bytes: Vec<u8> = std::iter::repeat_n(value.to_bytes_be(), 4096).flatten().collect();
    BlobSidecar {
        height: 0,
        index: 0,
        kzg_commitment: plain_commitment(value),
        kzg_proof: Bytes48::from(G1Affine::default().to_compressed()),
        blob: Blob::from_slice(&bytes).unwrap(),
    }
}

/// What a sample is about: its decided values, and one that is proposed at the height after them.
pub(crate) struct Sample {
    pub(crate) chain: Chain,
    pub(crate) decided: Vec<Proposal>,
    pub(crate) proposed: Proposal,
}

/// A payload for every height but this one.
const NO_PAYLOAD: u64 = 8;
/// All blobs for every height but these.
const NOT_ALL_BLOBS: [u64; 3] = [7, 9, 10];

/// Fills an empty store with everything that the tables can hold: heights that are imported, archived (with a hole) and
/// pruned, of blobs and of payloads; blobs that several heights name; gaps of both kinds; a proposal of several rounds.
pub(crate) fn fill(store: &Store) -> Sample {
    let mut chain = Chain::new();
    let mut decided = Vec::new();
    for height in 1..=10_u64 {
        // The last blob of a height is also the first of the next.
        let sidecars = (2 * height..=2 * height + 2).map(plain_sidecar).collect();
        let proposal = chain.propose_with(sidecars, 3_000);
        store.mark_decided(&[chain.decide(&proposal)]).unwrap();
        let payloads = if height == NO_PAYLOAD { Vec::new() } else { vec![proposal.payload()] };
        let blobs = proposal.blobs(if NOT_ALL_BLOBS.contains(&height) { 0..2 } else { 0..3 });
        store.insert(Batch { payloads, blobs }).unwrap();
        decided.push(proposal);
    }
    let proposed = chain.propose_with(vec![plain_sidecar(30), plain_sidecar(31), plain_sidecar(22)], 500);
    for round in [0, 3] {
        store.insert_undecided(round, &proposed.value, at(round)).unwrap();
    }
    store.insert(Batch { payloads: vec![proposed.payload()], blobs: proposed.blobs([1]) }).unwrap();
    for height in 1..=6_u64 {
        store.mark_imported(height, Some(&height.to_le_bytes())).unwrap();
    }
    store.mark_archived(1..4).unwrap();
    store.mark_archived(5..6).unwrap();
    let options = PruneOptions { max_heights: NonZeroU64::MIN, ..PruneOptions::default() };
    store.prune_below(2, PruneOptions { kind: PruneKind::BlobsAndPayloads, ..options }).unwrap();
    // The floor is at 4, and the blobs of height 3 are still to be deleted.
    while store.prune_below(4, options).unwrap().heights == 0 {}
    Sample { chain, decided, proposed }
}

fn open(path: &Path, sample: &Sample) -> Store {
    Store::open(path, &sample.chain.genesis, StoreConfig::default()).unwrap()
}

#[test]
fn a_sample_of_this_schema_can_be_made() {
    let directory = TempDir::new().unwrap();
    let path = std::env::var_os(SAMPLE).map_or_else(|| directory.path().join("store.redb"), Into::into);
    let store = Store::open(&path, &Chain::new().genesis, StoreConfig::default()).unwrap();
    let sample = fill(&store);
    drop(store);
    let marks = open(&path, &sample).watermarks();
    assert_eq!((marks.decided, marks.imported, marks.pruned), (10, 6, 3));
}
