//! Inputs to begin with: the published vectors, each in the form that its target takes.

use std::path::Path;

use serde_json::Value;

/// The vectors for the target with this name.
///
/// # Panics
/// If the files of vectors cannot be read.
pub fn seeds(target: &str) -> Vec<Vec<u8>> {
    match target {
        "request" => framed("requests", &["accepted", "bad_framing"], "framed"),
        "response" => framed("responses", &["good", "bad"], "stream"),
        "container" => containers(),
        "announcement" => announcements(),
        "archive" => plain("archives", "archive"),
        "index" => plain("indexes", "index"),
        other => panic!("no target {other}"),
    }
}

fn vectors(file: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../protocol-spec/vectors/{file}.json"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn cases<'a>(vectors: &'a Value, groups: &'a [&str]) -> impl Iterator<Item = &'a Value> {
    groups.iter().filter_map(|group| vectors.get(*group)?.as_array()).flatten()
}

fn bytes(case: &Value, field: &str) -> Option<Vec<u8>> {
    hex::decode(case.get(field)?.as_str()?.strip_prefix("0x")?).ok()
}

/// Streams, each behind the choice of its method and three seeds of cuts.
fn framed(file: &str, groups: &[&str], field: &str) -> Vec<Vec<u8>> {
    let vectors = vectors(file);
    let mut seeds = Vec::new();
    for case in cases(&vectors, groups) {
        let methods = lapis_protocol_spec::Method::ALL;
        let name = case.get("method").and_then(Value::as_str);
        let choice = (0..).zip(methods).find(|(_, method)| Some(method.name()) == name).map_or(0, |(choice, _)| choice);
        let Some(stream) = bytes(case, field) else { continue };
        seeds.extend([0, 3, 77].map(|cuts| [&[choice, cuts], stream.as_slice()].concat()));
    }
    seeds
}

/// Objects and what was refused as such, each behind the choice of its type.
fn containers() -> Vec<Vec<u8>> {
    let vectors = vectors("containers");
    let mut seeds = Vec::new();
    for case in cases(&vectors, &["containers", "refused"]) {
        let name = case.get("type").and_then(Value::as_str).unwrap_or_default();
        let choice = crate::containers::TYPES.iter().position(|known| *known == name);
        let choice = choice.and_then(|choice| u8::try_from(choice).ok());
        if let (Some(choice), Some(body)) = (choice, bytes(case, "ssz")) {
            seeds.push([&[choice], body.as_slice()].concat());
        }
    }
    seeds
}

fn announcements() -> Vec<Vec<u8>> {
    let vectors = vectors("certificates");
    let values = cases(&vectors, &["cases", "chain"]).filter_map(|case| bytes(case, "decided_value"));
    values.filter_map(|value| lapis_protocol_spec::announcement::compress(&value).ok()).collect()
}

fn plain(file: &str, field: &str) -> Vec<Vec<u8>> {
    let vectors = vectors(file);
    cases(&vectors, &["good", "bad"]).filter_map(|case| bytes(case, field)).collect()
}
