#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use serde_json::{Value, json};

use super::*;

fn example() -> Value {
    json!({
        "chain_id": "example-1",
        "genesis_time": 1_750_000_000,
        "max_blobs_per_block": 6,
        "blob_retention_heights": 1000,
        "validators": [
            { "public_key": "11".repeat(32), "power": 1 },
            { "public_key": format!("0x{}", "22".repeat(32)), "power": 2 },
            { "public_key": "33".repeat(32), "power": 3 },
        ],
        "execution_block_hash": format!("0x{}", "ab".repeat(32)),
        "cancun_time": 0,
        "prague_time": 10,
    })
}

fn parse_value(json: &Value) -> Result<Genesis, GenesisJsonError> {
    parse(json.to_string().as_bytes())
}

/// The message for `example` with `change` made to it.
fn message(change: impl FnOnce(&mut Value)) -> String {
    let mut json = example();
    change(&mut json);
    parse_value(&json).unwrap_err().to_string()
}

#[test]
fn the_json_form_survives_a_round_trip() {
    let genesis = parse_value(&example()).unwrap();
    assert_eq!(&*genesis.chain_id, b"example-1");
    assert_eq!(genesis.validators.total_power(), 6);
    let text = to_json(&genesis).unwrap();
    assert_eq!(parse(text.as_bytes()).unwrap(), genesis);
}

#[test]
fn the_order_of_validators_makes_no_other_chain() {
    let mut reversed = example();
    reversed["validators"].as_array_mut().unwrap().reverse();
    assert_eq!(parse_value(&reversed).unwrap().id(), parse_value(&example()).unwrap().id());
}

#[test]
fn an_unknown_field_is_refused_by_name() {
    let top = message(|json| json["blob_retention"] = json!(7));
    assert!(top.contains("unknown field `blob_retention`"), "{top}");
    let inner = message(|json| json["validators"][0]["weight"] = json!(7));
    assert!(inner.contains("unknown field `weight`"), "{inner}");
}

#[test]
fn a_missing_field_is_named() {
    let message = message(|json| drop(json.as_object_mut().unwrap().remove("cancun_time")));
    assert!(message.contains("missing field `cancun_time`"), "{message}");
}

#[test]
fn malformed_hex_says_what_would_be_right() {
    let short = message(|json| json["execution_block_hash"] = json!("0xabcd"));
    assert!(short.contains("0xabcd") && short.contains("32 bytes of hex"), "{short}");
    let letters = message(|json| json["validators"][1]["public_key"] = json!("zz".repeat(32)));
    assert!(letters.contains("32 bytes of hex"), "{letters}");
}

#[test]
fn rules_of_the_chain_are_checked() {
    assert!(message(|json| json["max_blobs_per_block"] = json!(4097)).contains("4097"));
    assert!(message(|json| json["blob_retention_heights"] = json!(0)).contains("at least 1"));
    assert!(message(|json| json["cancun_time"] = json!(11)).contains("prague_time 10 is before cancun_time 11"));
    assert!(message(|json| json["validators"] = json!([])).contains("empty"));
    assert!(message(|json| json["validators"][0]["power"] = json!(0)).contains("has power 0"));
    assert!(message(|json| json["chain_id"] = json!("")).contains("0 bytes"));
    assert!(message(|json| json["chain_id"] = json!("x".repeat(65))).contains("65 bytes"));
}

#[test]
fn a_validator_listed_twice_is_named() {
    let message = message(|json| {
        let first = json["validators"][0].clone();
        json["validators"].as_array_mut().unwrap().push(first);
    });
    assert_eq!(message, format!("validator 0x{} is listed twice", "11".repeat(32)));
}

#[test]
fn negative_and_fractional_numbers_are_refused() {
    assert!(message(|json| json["genesis_time"] = json!(-1)).contains("-1"));
    assert!(message(|json| json["genesis_time"] = json!(1.5)).contains("1.5"));
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("genesis.json");
    let error = load(&path).unwrap_err();
    assert_eq!(error.to_string(), format!("cannot read genesis file {}", path.display()));
}

#[test]
fn an_endless_file_is_not_read() {
    let error = load(Path::new("/dev/zero")).unwrap_err();
    assert!(matches!(error, GenesisFileError::TooLarge { .. }));
}
