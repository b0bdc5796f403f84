//! Blobs with commitments and proofs, right and wrong.

use lapis_protocol_spec::{Bytes48, Kzg, kzg::TRUSTED_SETUP_SHA256, versioned_hash};
use serde_json::{Value as Json, json};

use super::{Failure, hex, objects};

/// The order of the BLS12-381 scalar field.
const MODULUS: &str = "0x73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000001";

pub(crate) fn file() -> Result<Json, Failure> {
    let kzg = Kzg::mainnet()?;
    let mut blobs = Vec::new();
    let mut made = Vec::new();
    for seed in 0..3 {
        let blob = objects::blob(seed)?;
        let commitment = kzg.commit(&blob)?;
        let proof = kzg.prove(&blob, &commitment)?;
        blobs.push(json!({
            "blob_seed": seed,
            "sha256": hex(objects::sha256(blob.as_ref())),
            "commitment": hex(commitment),
            "proof": hex(proof),
            "versioned_hash": hex(versioned_hash(&commitment)),
        }));
        made.push((commitment, proof));
    }
    Ok(json!({ "trusted_setup_sha256": format!("0x{TRUSTED_SETUP_SHA256}"), "blobs": blobs, "cases": cases(&made)? }))
}

/// What is claimed of the blob of seed 0, of which one field element may be replaced.
fn case(name: &str, change: Option<Json>, commitment: Bytes48, proof: Bytes48, valid: bool) -> Json {
    let (commitment, proof) = (hex(commitment), hex(proof));
    let mut case = json!({ "name": name, "blob_seed": 0, "commitment": commitment, "proof": proof, "valid": valid });
    if let (Some(case), Some(change)) = (case.as_object_mut(), change) {
        case.insert("field_element".to_owned(), change);
    }
    case
}

fn cases(made: &[(Bytes48, Bytes48)]) -> Result<Vec<Json>, Failure> {
    let [(commitment, proof), (other_commitment, other_proof), ..] = made[..] else { return Err("no blobs".into()) };
    let infinity = Bytes48::from_hex(&format!("c0{}", "00".repeat(47))).ok_or("infinity")?;
    let last = |value: &str| Some(json!({ "position": 4095, "value": value }));
    let (one, ones) = (format!("0x{:064x}", 1), "0x".to_owned() + &"ff".repeat(32));
    Ok(vec![
        case("as made", None, commitment, proof, true),
        case("the proof of another blob", None, commitment, other_proof, false),
        case("the commitment to another blob", None, other_commitment, proof, false),
        case("commitment and proof of another blob", None, other_commitment, other_proof, false),
        case("the last field element is another", last(&one), commitment, proof, false),
        case("a field element equal to the modulus", last(MODULUS), commitment, proof, false),
        case("a field element of ones", last(&ones), commitment, proof, false),
        case("the proof at infinity", None, commitment, infinity, false),
        case("the commitment at infinity", None, infinity, proof, false),
        case("a commitment of zeros, which is no point", None, Bytes48::ZERO, proof, false),
        case("a proof of ones, which is no point", None, commitment, [0xff; 48].into(), false),
    ])
}
