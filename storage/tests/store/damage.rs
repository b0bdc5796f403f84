//! Flipped bits: reported, never served, mended from elsewhere.

use std::path::Path;

use lapis_protocol_spec::encode;
use lapis_storage::{Batch, Damage, OpenError, Store, StoreConfig, StoreError, TableName};

use crate::fixture::{Bench, Proposal};

/// Flips one bit of every copy of `needle` in the file; there may be stale ones beside the live one.
pub(crate) fn flip(path: &Path, needle: &[u8]) {
    let mut bytes = std::fs::read(path).unwrap();
    let mut from = 0;
    let mut flips = 0;
    while let Some(at) = bytes[from..].windows(needle.len()).position(|window| window == needle) {
        bytes[from + at + needle.len() / 2] ^= 4;
        from += at + needle.len();
        flips += 1;
    }
    assert!(flips > 0, "the file holds what is to be damaged");
    std::fs::write(path, bytes).unwrap();
}

/// Three whole heights, the second with damage.
fn damaged(needle: impl FnOnce(&Proposal) -> Vec<u8>) -> (Bench, Vec<Proposal>) {
    let mut bench = Bench::new();
    let proposals: Vec<_> = (1..=3).map(|seed| bench.whole(&[seed, 10 + seed])).collect();
    let needle = needle(&proposals[1]);
    (bench.reopen_after(|path| flip(path, &needle)), proposals)
}

fn assert_damage<T: std::fmt::Debug>(result: Result<T, StoreError>, table: TableName, index: u64) -> Damage {
    let Err(StoreError::Damaged(damage)) = result else { panic!("{result:?}") };
    assert_eq!(damage, Damage { table, height: 2, index });
    damage
}

fn assert_blob_is_mended(bench: &Bench, proposals: &[Proposal]) {
    let reader = bench.store.reader().unwrap();
    let damage = assert_damage(reader.sidecar(2, 1), TableName::Blobs, 1);
    assert_damage(reader.with_sidecar(2, 1, |_| ()), TableName::Blobs, 1);
    assert_damage(reader.with_sidecar_by_hash(&proposals[1].hash(1), |_, _, _| ()), TableName::Blobs, 1);
    assert_eq!(reader.sidecar(2, 0).unwrap().as_ref(), Some(&proposals[1].sidecars[0]));
    bench.store.mark_imported(1, None).unwrap();
    assert!(bench.store.discard_damaged(&damage).unwrap());
    assert_eq!(bench.store.watermarks().available, 1, "back below what is missing");
    let missing = bench.store.missing(1..4, 9).unwrap();
    assert_eq!((missing.len(), missing[0].height, &missing[0].blobs), (1, 2, &vec![1]));
    assert!(!bench.store.reader().unwrap().has_height_whole(2).unwrap());
    let inserted = bench.store.insert(Batch { blobs: proposals[1].blobs([1]), ..Batch::default() }).unwrap();
    assert_eq!(inserted.newly_available, 2..4);
    let found = bench.store.reader().unwrap().sidecar(2, 1).unwrap();
    assert_eq!(found.as_ref(), Some(&proposals[1].sidecars[1]));
    assert!(!bench.store.discard_damaged(&damage).unwrap(), "what is whole stays");
    assert_eq!(bench.store.stats().unwrap().tallies.blobs.held().count, 6);
}

#[test]
fn a_bit_in_each_piece_of_a_blob() {
    for at in [1_000, 70_000, 131_000 + 20] {
        let (bench, proposals) = damaged(|proposal| proposal.sidecars[1].blob.as_array()[at..at + 48].to_vec());
        assert_blob_is_mended(&bench, &proposals);
    }
}

#[test]
fn a_bit_in_a_blobs_row() {
    let (bench, proposals) = damaged(|proposal| proposal.sidecars[1].kzg_proof.0.to_vec());
    assert_blob_is_mended(&bench, &proposals);
}

#[test]
fn a_bit_in_a_payload() {
    let (bench, proposals) = damaged(|proposal| proposal.envelope.payload[100..164].to_vec());
    let damage = assert_damage(bench.store.get_for_import(2), TableName::Payloads, 0);
    assert_damage(bench.store.reader().unwrap().with_payload(2, |_| ()), TableName::Payloads, 0);
    assert!(bench.store.discard_damaged(&damage).unwrap());
    assert_eq!(bench.store.watermarks().available, 1);
    assert!(bench.store.missing(1..4, 9).unwrap()[0].payload);
    bench.store.insert(Batch { payloads: vec![proposals[1].payload()], ..Batch::default() }).unwrap();
    assert_eq!(bench.store.get_for_import(2).unwrap().unwrap().payload, proposals[1].envelope);
    assert_eq!(bench.store.watermarks().available, 3);
}

#[test]
fn damage_below_what_is_imported_does_not_hold_import_back() {
    let mut bench = Bench::new();
    let proposals: Vec<_> = (1..=3).map(|seed| bench.whole(&[seed])).collect();
    bench.import_all();
    let needle = proposals[1].sidecars[0].kzg_proof.0;
    let mut bench = bench.reopen_after(|path| flip(path, &needle));
    let damage = assert_damage(bench.store.reader().unwrap().sidecar(2, 0), TableName::Blobs, 0);
    bench.store.discard_damaged(&damage).unwrap();
    assert_eq!(bench.store.watermarks().available, 3);
    assert!(bench.store.gaps().contains(2));
    bench.whole(&[4]);
    assert_eq!(bench.store.watermarks().available, 4);
    bench.import_all();
    bench.store.insert(proposals[1].batch()).unwrap();
    assert!(bench.store.gaps().is_empty());
}

#[test]
fn a_bit_in_a_value_or_its_certificate_or_its_state() {
    let (bench, _) = damaged(|proposal| proposal.value.value().payload_digest.0.to_vec());
    let damage = assert_damage(bench.store.get_decided(2), TableName::Values, 0);
    assert_damage(bench.store.reader().unwrap().sidecar(2, 0), TableName::Values, 0);
    assert!(matches!(bench.store.discard_damaged(&damage), Err(StoreError::Damaged(_))), "no peer can mend it");
    let mut bench = Bench::new();
    bench.whole(&[1]);
    let (proposal, decided) = bench.chain.next(&[2]);
    bench.store.mark_decided(std::slice::from_ref(&decided)).unwrap();
    let signature = encode(&decided.certificate.signatures[0])[20..].to_vec();
    let state = [&proposal.value.id().0[..], &2_u64.to_le_bytes()].concat();
    let bench = bench.reopen_after(|path| {
        flip(path, &signature);
        flip(path, &state);
    });
    assert_damage(bench.store.get_decided(2), TableName::Certificates, 0);
    assert_damage(bench.store.reader().unwrap().payload(2), TableName::States, 0);
    let inserted = bench.store.insert(proposal.batch()).unwrap();
    assert_eq!(inserted.newly_available, 2..3, "what follows from the value is made again");
    assert_eq!(bench.store.reader().unwrap().payload(2).unwrap().as_ref(), Some(&proposal.envelope));
}

#[test]
fn a_bit_in_the_chain_row_or_a_validator_set() {
    let mut bench = Bench::new();
    bench.whole(&[1]);
    let (path, genesis) = (bench.path(), bench.chain.genesis.clone());
    let tip = bench.chain.tip;
    let set = bench.chain.set.validators[0].public_key.0;
    let root = bench.chain.set.root();
    let bench = bench.reopen_after(|path| flip(path, &set));
    let Err(StoreError::Damaged(damage)) = bench.store.validator_set(&root) else { panic!("a damaged set was given") };
    assert_eq!(damage.table, TableName::ValidatorSets);
    drop(bench.store);
    flip(&path, &[tip.value_id.0, tip.next_validators_root.0].concat());
    let opened = Store::open(&path, &genesis, StoreConfig::default());
    assert!(matches!(opened, Err(OpenError::Damaged(StoreError::Damaged(_)))), "{opened:?}");
}
