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
    let [(commitment, proof), (other_commitment, other_proof), ..] = made[..] else { return Err("no blobs".into()) };
    let infinity = Bytes48::from_hex(&format!("c0{}", "00".repeat(47))).ok_or("infinity")?;
    let case = |name: &str, change: Json, commitment: Bytes48, proof: Bytes48, valid: bool| {
        let (commitment, proof) = (hex(commitment), hex(proof));
        let mut case =
            json!({ "name": name, "blob_seed": 0, "commitment": commitment, "proof": proof, "valid": valid });
        if let (Some(case), Some(_)) = (case.as_object_mut(), change.as_object()) {
            case.insert("field_element".to_owned(), change);
        }
        case
    };
    let last = |value: &str| json!({ "position": 4095, "value": value });
    let ones = "0x".to_owned() + &"ff".repeat(32);
    Ok(json!({
        "trusted_setup_sha256": format!("0x{TRUSTED_SETUP_SHA256}"),
        "blobs": blobs,
        "cases": [
            case("as made", Json::Null, commitment, proof, true),
            case("the proof of another blob", Json::Null, commitment, other_proof, false),
            case("the commitment to another blob", Json::Null, other_commitment, proof, false),
            case("commitment and proof of another blob", Json::Null, other_commitment, other_proof, false),
            case("the last field element is another", last(&format!("0x{:064x}", 1)), commitment, proof, false),
            case("a field element equal to the modulus", last(MODULUS), commitment, proof, false),
            case("a field element of ones", last(&ones), commitment, proof, false),
            case("the proof at infinity", Json::Null, commitment, infinity, false),
            case("the commitment at infinity", Json::Null, infinity, proof, false),
            case("a commitment of zeros, which is no point", Json::Null, Bytes48::ZERO, proof, false),
            case("a proof of ones, which is no point", Json::Null, commitment, [0xff; 48].into(), false),
        ],
    }))
}
