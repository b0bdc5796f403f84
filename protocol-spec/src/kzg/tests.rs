#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use super::*;
use crate::{
    IdentifiedValue, Value,
    fixtures::{KZG, SIDECARS, blob},
};
use std::sync::Arc;

/// The order of the BLS12-381 scalar field: the smallest number that is not a field element.
const MODULUS: &str = "73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000001";
/// The compressed point at infinity.
const INFINITY: Bytes48 = {
    let mut bytes = [0; 48];
    bytes[0] = 0xc0;
    crate::FixedBytes(bytes)
};

/// `sidecar` through the first gate, by a value that commits to whatever it commits to.
fn matched(sidecar: BlobSidecar) -> Matched<BlobSidecar> {
    let blob_kzg_commitments = vec![sidecar.kzg_commitment].try_into().unwrap();
    let value = IdentifiedValue::new(Arc::new(Value { height: 7, blob_kzg_commitments, ..Value::default() }));
    Matched::blob(sidecar, &value, 0).unwrap()
}

fn batch(sidecars: &[BlobSidecar]) -> Vec<(usize, Matched<BlobSidecar>)> {
    sidecars.iter().cloned().map(matched).enumerate().collect()
}

fn contexts<T>(side: &[(usize, T)]) -> Vec<usize> {
    side.iter().map(|(context, _)| *context).collect()
}

/// Verifies the eight sidecars after `change` was made to number 5, and expects that it alone is faulty.
fn assert_fifth_is_faulty(change: impl FnOnce(&mut BlobSidecar)) {
    let mut sidecars = SIDECARS.clone();
    change(&mut sidecars[5]);
    let outcome = KZG.verify_batch(batch(&sidecars));
    assert_eq!(contexts(&outcome.verified), [0, 1, 2, 3, 4, 6, 7]);
    assert_eq!(contexts(&outcome.faulty), [5]);
    assert!(outcome.unchecked.is_empty());
    assert_eq!(outcome.faulty[0].1.blob, sidecars[5].blob);
    let alone = KZG.verify(matched(sidecars[5].clone())).unwrap_err();
    assert_eq!(alone.into_inner().kzg_proof, sidecars[5].kzg_proof);
}

fn with_field_element(blob: &Blob, position: usize, element: &str) -> Blob {
    let mut bytes = blob.as_array().to_vec();
    bytes[32 * position..][..32].copy_from_slice(&hex::decode(element).unwrap());
    Blob::from_slice(&bytes).unwrap()
}

#[test]
fn good_batch_keeps_its_order() {
    let outcome = KZG.verify_batch(batch(&SIDECARS));
    assert_eq!(contexts(&outcome.verified), [0, 1, 2, 3, 4, 5, 6, 7]);
    assert!(outcome.faulty.is_empty() && outcome.unchecked.is_empty());
    for ((_, verified), sidecar) in outcome.verified.iter().zip(SIDECARS.iter()) {
        assert_eq!(verified.blob, sidecar.blob);
    }
    KZG.verify(matched(SIDECARS[0].clone())).unwrap();
}

#[test]
fn empty_batch() {
    let outcome = KZG.verify_batch::<()>(Vec::new());
    assert!(outcome.verified.is_empty() && outcome.faulty.is_empty() && outcome.unchecked.is_empty());
}

#[test]
fn wrong_proof_is_named_and_the_others_kept() {
    assert_fifth_is_faulty(|sidecar| sidecar.kzg_proof = SIDECARS[4].kzg_proof);
}

#[test]
fn wrong_blob() {
    assert_fifth_is_faulty(|sidecar| sidecar.blob = SIDECARS[4].blob.clone());
}

#[test]
fn one_bit_of_the_blob_flipped() {
    assert_fifth_is_faulty(|sidecar| {
        let mut bytes = sidecar.blob.as_array().to_vec();
        bytes[131_071] ^= 1;
        sidecar.blob = Blob::from_slice(&bytes).unwrap();
    });
}

#[test]
fn commitment_to_another_blob() {
    assert_fifth_is_faulty(|sidecar| sidecar.kzg_commitment = SIDECARS[4].kzg_commitment);
}

#[test]
fn field_element_at_or_above_the_modulus() {
    for element in [MODULUS, &"ff".repeat(32)] {
        assert_fifth_is_faulty(|sidecar| sidecar.blob = with_field_element(&sidecar.blob, 4095, element));
    }
}

#[test]
fn commitment_is_not_a_point() {
    for commitment in [Bytes48::ZERO, Bytes48::from([0xff; 48])] {
        assert_fifth_is_faulty(|sidecar| sidecar.kzg_commitment = commitment);
    }
}

#[test]
fn proof_is_not_a_point() {
    for proof in [Bytes48::ZERO, Bytes48::from([0xff; 48])] {
        assert_fifth_is_faulty(|sidecar| sidecar.kzg_proof = proof);
    }
}

#[test]
fn point_outside_the_subgroup() {
    // x = 4 is on the curve y^2 = x^3 + 4, but not in the group of prime order.
    let mut point = Bytes48::ZERO;
    (point.0[0], point.0[47]) = (0x80, 4);
    assert_fifth_is_faulty(|sidecar| sidecar.kzg_commitment = point);
}

#[test]
fn all_faulty() {
    let wrong: Vec<_> = SIDECARS.iter().map(|s| BlobSidecar { kzg_proof: INFINITY, ..s.clone() }).collect();
    let outcome = KZG.verify_batch(batch(&wrong));
    assert_eq!(contexts(&outcome.faulty), [0, 1, 2, 3, 4, 5, 6, 7]);
    assert!(outcome.verified.is_empty());
}

#[test]
fn faulty_one_alone() {
    let wrong = BlobSidecar { kzg_proof: INFINITY, ..SIDECARS[0].clone() };
    let outcome = KZG.verify_batch(batch(&[wrong]));
    assert_eq!(contexts(&outcome.faulty), [0]);
}

#[test]
fn the_same_blob_twice_in_a_batch() {
    let outcome = KZG.verify_batch(batch(&[SIDECARS[0].clone(), SIDECARS[0].clone()]));
    assert_eq!(contexts(&outcome.verified), [0, 1]);
}

#[test]
fn blob_of_zeros_commits_to_the_point_at_infinity() {
    let blob = Blob::default();
    assert_eq!(KZG.commit(&blob).unwrap(), INFINITY);
    assert_eq!(KZG.prove(&blob, &INFINITY).unwrap(), INFINITY);
    let sidecar = BlobSidecar { kzg_commitment: INFINITY, kzg_proof: INFINITY, blob, ..BlobSidecar::default() };
    KZG.verify(matched(sidecar.clone())).unwrap();
    // Infinity proves nothing for any other blob.
    KZG.verify(matched(BlobSidecar { blob: SIDECARS[0].blob.clone(), ..sidecar })).unwrap_err();
}

#[test]
fn constant_blob_has_the_proof_at_infinity() {
    let mut one = [0; 32];
    one[31] = 1;
    let blob = Blob::from_slice(&one.repeat(4096)).unwrap();
    let commitment = KZG.commit(&blob).unwrap();
    assert_ne!(commitment, INFINITY);
    assert_eq!(KZG.prove(&blob, &commitment).unwrap(), INFINITY);
}

#[test]
fn no_commitment_and_no_proof_for_what_is_not_a_blob() {
    let bad = with_field_element(&blob(1), 0, MODULUS);
    KZG.commit(&bad).unwrap_err();
    KZG.prove(&bad, &SIDECARS[1].kzg_commitment).unwrap_err();
    KZG.prove(&blob(1), &Bytes48::ZERO).unwrap_err();
}

#[test]
fn largest_field_element_is_one() {
    let largest = "73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000000";
    let blob = with_field_element(&blob(1), 17, largest);
    let kzg_commitment = KZG.commit(&blob).unwrap();
    let kzg_proof = KZG.prove(&blob, &kzg_commitment).unwrap();
    KZG.verify(matched(BlobSidecar { height: 7, index: 0, kzg_commitment, kzg_proof, blob })).unwrap();
}

#[test]
fn setup_file_with_another_hash() {
    let mut damaged = MAINNET_SETUP.to_vec();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    let error = Kzg::from_json(&damaged, TRUSTED_SETUP_SHA256).unwrap_err();
    let KzgSetupError::Hash { found, expected } = error else { panic!("{error}") };
    assert_eq!((found, expected.as_str()), (hex::encode(Sha256::digest(&damaged)), TRUSTED_SETUP_SHA256));
}

/// Loads `json` as if its own hash were the one configured.
fn load(json: &str) -> KzgSetupError {
    Kzg::from_json(json.as_bytes(), &hex::encode(Sha256::digest(json))).unwrap_err()
}

#[test]
fn setup_hash_is_read_with_prefix_and_in_either_case() {
    let json = b"{}";
    let digest = hex::encode(Sha256::digest(json));
    for expected in [format!("0x{digest}"), digest.to_uppercase(), digest] {
        let error = Kzg::from_json(json, &expected).unwrap_err();
        assert!(matches!(error, KzgSetupError::Format(_)), "the hash is right, the content is not: {error}");
    }
}

#[test]
fn setup_that_is_no_setup() {
    assert!(matches!(load("not json"), KzgSetupError::Format(_)));
    let points = |g1: &str| format!(r#"{{"g1_monomial":[{g1}],"g1_lagrange":[],"g2_monomial":[]}}"#);
    for malformed in [r#""aa""#, r#""0xa""#, r#""0xzz""#] {
        assert!(matches!(load(&points(malformed)), KzgSetupError::Point("g1_monomial")), "{malformed}");
    }
    assert!(matches!(load(&points("")), KzgSetupError::Setup(_)), "too few points");
}

#[test]
fn setup_with_a_point_that_is_none() {
    let setup = std::str::from_utf8(MAINNET_SETUP).unwrap();
    let first = setup.find("0x").unwrap() + 2;
    let damaged = format!("{}{}{}", &setup[..first], "ff".repeat(48), &setup[first + 96..]);
    assert!(matches!(load(&damaged), KzgSetupError::Setup(_)));
}
