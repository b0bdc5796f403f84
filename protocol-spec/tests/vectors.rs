//! The golden vectors: the files are what the code makes, and reading them gives what they say.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

#[path = "../examples/vectors/cases/mod.rs"]
mod cases;

use std::{fs, path::Path, sync::Arc};

use lapis_protocol_spec::{
    Blob, BlobSidecar, Bytes32, Bytes48, ChainLink, CommitCertificate, CommitSignature, DecidedValue, FixedBytes,
    Genesis, HeightRange, IdentifiedValue, Item, Kzg, Matched, Method, PayloadEnvelope, Request, Status, Validator,
    ValidatorSet, Value, Verified,
    archive::{ArchiveError, Decoder, Event, HeaderDecoder, Index, IndexRecord},
    certificate::VoteSigningData,
    decode, encode,
    framing::{RequestDecoder, ResponseChunk, ResponseDecoder},
    payload::requests_hash,
    versioned_hash,
};
use serde_json::Value as Json;
use sha2::{Digest, Sha256};
use ssz_rs::SimpleSerialize;

fn file(name: &str) -> Json {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors").join(name);
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn list(json: &Json) -> &[Json] {
    json.as_array().unwrap()
}

fn text(json: &Json) -> &str {
    json.as_str().unwrap()
}

fn bytes(json: &Json) -> Vec<u8> {
    hex::decode(text(json).strip_prefix("0x").unwrap()).unwrap()
}

fn fixed<const N: usize>(json: &Json) -> FixedBytes<N> {
    FixedBytes::from_slice(&bytes(json)).unwrap()
}

fn method(json: &Json) -> Method {
    Method::ALL.into_iter().find(|method| method.name() == text(json)).unwrap()
}

/// The name of an enum's variant.
fn variant(error: impl std::fmt::Debug) -> String {
    format!("{error:?}").split([' ', '(', '{']).next().unwrap().to_owned()
}

/// The blob of a seed: field element `i` is `seed * 2^32 + i`.
fn blob(seed: &Json) -> Vec<u8> {
    let seed = seed.as_u64().unwrap();
    (0..4096).flat_map(|i| [[0; 24].to_vec(), ((seed << 32) + i).to_be_bytes().to_vec()].concat()).collect()
}

#[test]
fn files_are_what_the_code_makes() {
    for (name, content) in cases::files().unwrap() {
        assert_eq!(file(name), content, "{name}: run the example `vectors` with --write if the change is intended");
    }
}

/// The bytes and the root of what `ssz` decodes to.
fn decoded<T: SimpleSerialize>(ssz: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let mut object: T = decode(ssz).ok()?;
    Some((encode(&object), object.hash_tree_root().unwrap().as_ref().to_vec()))
}

fn decoded_as(kind: &Json, ssz: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    match text(kind) {
        "Validator" => decoded::<Validator>(ssz),
        "ValidatorSet" => decoded::<ValidatorSet>(ssz),
        "Genesis" => decoded::<Genesis>(ssz),
        "Value" => decoded::<Value>(ssz),
        "CommitSignature" => decoded::<CommitSignature>(ssz),
        "CommitCertificate" => decoded::<CommitCertificate>(ssz),
        "DecidedValue" => decoded::<DecidedValue>(ssz),
        "VoteSigningData" => decoded::<VoteSigningData>(ssz),
        "Status" => decoded::<Status>(ssz),
        "HeightRange" => decoded::<HeightRange>(ssz),
        "PayloadEnvelope" => decoded::<PayloadEnvelope>(ssz),
        other => panic!("no container {other}"),
    }
}

#[test]
fn containers_decode_encode_and_hash() {
    for case in list(&file("containers.json")["containers"]) {
        let expected = (bytes(&case["ssz"]), bytes(&case["root"]));
        assert_eq!(decoded_as(&case["type"], &expected.0).as_ref(), Some(&expected), "{}", case["name"]);
    }
}

#[test]
fn malformed_containers_are_refused() {
    for case in list(&file("containers.json")["refused"]) {
        assert_eq!(decoded_as(&case["type"], &bytes(&case["ssz"])), None, "{}", case["name"]);
    }
}

#[test]
fn sidecar_from_its_description() {
    let sidecar = &file("containers.json")["sidecar"];
    let ssz = [bytes(&sidecar["header"]), blob(&sidecar["blob_seed"])].concat();
    assert_eq!(ssz.len() as u64, sidecar["bytes"].as_u64().unwrap());
    assert_eq!(Sha256::digest(&ssz).to_vec(), bytes(&sidecar["ssz_sha256"]));
    assert_eq!(decoded::<BlobSidecar>(&ssz), Some((ssz, bytes(&sidecar["root"]))));
}

#[test]
fn hashes() {
    let containers = file("containers.json");
    let hashes = &containers["hashes"];
    for case in list(&hashes["versioned_hashes"]) {
        assert_eq!(versioned_hash(&fixed(&case["commitment"])), fixed(&case["versioned_hash"]));
    }
    for case in list(&hashes["requests_hash"]) {
        let requests: Vec<Vec<u8>> = list(&case["requests"]).iter().map(bytes).collect();
        assert_eq!(requests_hash(requests.iter().map(Vec::as_slice)), fixed(&case["hash"]));
    }
    assert_eq!(Sha256::digest(bytes(&hashes["payload"])).to_vec(), bytes(&hashes["payload_digest"]));
}

fn verify(file: &Json, case: &Json) -> Result<Verified<DecidedValue>, String> {
    let tip = &case["tip"];
    let tip = ChainLink {
        height: tip["height"].as_u64().unwrap(),
        value_id: fixed(&tip["value_id"]),
        next_validators_root: fixed(&tip["next_validators_root"]),
        block_hash: fixed(&tip["block_hash"]),
        timestamp: tip["timestamp"].as_u64().unwrap(),
    };
    let decided: DecidedValue = decode(&bytes(&case["decided_value"])).unwrap();
    let signers: ValidatorSet = decode(&bytes(&case["signers"])).unwrap();
    let max_blobs = file["max_blobs_per_block"].as_u64().unwrap();
    decided.verify(&fixed(&file["genesis"]["id"]), max_blobs, &tip, &signers).map_err(variant)
}

#[test]
fn certificates() {
    let file = file("certificates.json");
    for case in list(&file["cases"]) {
        let outcome = verify(&file, case).map_or_else(|fault| fault, |_| "valid".to_owned());
        assert_eq!(outcome, text(&case["expected"]), "{}", case["name"]);
    }
}

#[test]
fn chain_with_a_changing_set() {
    let file = file("certificates.json");
    let genesis: Genesis = decode(&bytes(&file["genesis"]["ssz"])).unwrap();
    assert_eq!(genesis.id(), fixed(&file["genesis"]["id"]));
    let mut tip = ChainLink::genesis(&genesis);
    for case in list(&file["chain"]) {
        assert_eq!(
            (tip.height, tip.value_id),
            (case["tip"]["height"].as_u64().unwrap(), fixed(&case["tip"]["value_id"]))
        );
        let verified = verify(&file, case).unwrap();
        tip = ChainLink::after(&verified.value, *verified.value_id());
    }
    assert_eq!(tip.height, 3);
}

fn sidecar_of(case: &Json) -> Matched<BlobSidecar> {
    let mut bytes_of_blob = blob(&case["blob_seed"]);
    if let Some(change) = case.get("field_element") {
        let at = 32 * usize::try_from(change["position"].as_u64().unwrap()).unwrap();
        bytes_of_blob[at..at + 32].copy_from_slice(&bytes(&change["value"]));
    }
    let kzg_commitment: Bytes48 = fixed(&case["commitment"]);
    let blob_kzg_commitments = vec![kzg_commitment].try_into().unwrap();
    let value = IdentifiedValue::new(Arc::new(Value { height: 1, blob_kzg_commitments, ..Value::default() }));
    let blob = Blob::from_slice(&bytes_of_blob).unwrap();
    let sidecar = BlobSidecar { height: 1, index: 0, kzg_commitment, kzg_proof: fixed(&case["proof"]), blob };
    Matched::blob(sidecar, &value, 0).unwrap()
}

#[test]
fn proofs() {
    let file = file("proofs.json");
    let kzg = Kzg::mainnet().unwrap();
    for case in list(&file["blobs"]) {
        let verified = kzg.verify(sidecar_of(case)).unwrap();
        assert_eq!(verified.versioned_hash(), fixed(&case["versioned_hash"]));
        assert_eq!(Sha256::digest(&verified.blob).to_vec(), bytes(&case["sha256"]));
    }
    let batch = list(&file["cases"]).iter().map(|case| (case, sidecar_of(case))).collect();
    let outcome = kzg.verify_batch(batch);
    assert!(outcome.unchecked.is_empty());
    assert!(outcome.verified.iter().all(|(case, _)| case["valid"] == true));
    assert!(outcome.faulty.iter().all(|(case, _)| case["valid"] == false));
    assert_eq!(outcome.verified.len() + outcome.faulty.len(), list(&file["cases"]).len());
}

/// The body of a framed request, fed byte by byte.
fn request_body(method: Method, framed: &[u8]) -> Result<Vec<u8>, String> {
    let mut decoder = RequestDecoder::new(method.request_bounds());
    framed.chunks(1).try_for_each(|byte| decoder.push(byte)).map_err(variant)?;
    decoder.finish().map(|body| body.to_vec()).map_err(variant)
}

#[test]
fn requests() {
    let requests = file("requests.json");
    for case in list(&requests["accepted"]) {
        let (method, ssz) = (method(&case["method"]), bytes(&case["ssz"]));
        assert_eq!(method.protocol_id(), text(&case["protocol_id"]));
        assert_eq!(request_body(method, &bytes(&case["framed"])), Ok(ssz.clone()), "{}", case["name"]);
        assert_eq!(Request::decode(method, &ssz).unwrap().encode(), ssz, "{}", case["name"]);
    }
    for case in list(&requests["bad_framing"]) {
        let method = method(&case["method"]);
        let outcome = request_body(method, &bytes(&case["framed"]))
            .and_then(|body| Request::decode(method, &body).map_err(variant));
        assert_eq!(outcome.unwrap_err(), text(&case["expected"]), "{}", case["name"]);
    }
    for case in list(&requests["bad_ranges"]) {
        let range: HeightRange = decode(&bytes(&case["ssz"])).unwrap();
        let outcome = range.heights().map_or_else(variant, |_| "valid".to_owned());
        assert_eq!(outcome, text(&case["expected"]), "{}", case["name"]);
    }
}

/// Chunks of a stream that arrives in reads of `read` bytes, and how it ends.
fn respond(method: Method, stream: &[u8], read: usize) -> (Vec<(u64, Vec<u8>)>, String) {
    let mut decoder = ResponseDecoder::new(method.response_bounds());
    let mut chunks = Vec::new();
    for arrived in stream.chunks(read) {
        let mut rest = arrived;
        while !rest.is_empty() {
            let progress = match decoder.push(rest) {
                Ok(progress) => progress,
                Err(error) => return (chunks, variant(error)),
            };
            rest = &rest[progress.consumed..];
            match progress.chunk {
                Some(ResponseChunk::Success(item)) => chunks.push((0, item.to_vec())),
                Some(ResponseChunk::Error { code, message }) => chunks.push((code.byte().into(), message.to_vec())),
                None => {}
            }
        }
    }
    (chunks, decoder.finish().map_or_else(variant, |()| "complete".to_owned()))
}

#[test]
fn responses() {
    let responses = file("responses.json");
    for case in list(&responses["good"]).iter().chain(list(&responses["bad"])) {
        let (method, stream) = (method(&case["method"]), bytes(&case["stream"]));
        let chunk = |chunk: &Json| (chunk["result"].as_u64().unwrap(), bytes(&chunk["payload"]));
        let expected = (list(&case["chunks"]).iter().map(chunk).collect::<Vec<_>>(), text(&case["end"]).to_owned());
        for read in [1, 7, stream.len().max(1)] {
            assert_eq!(respond(method, &stream, read), expected, "{} in reads of {read}", case["name"]);
        }
        for (result, payload) in expected.0.into_iter().filter(|(result, _)| *result == 0) {
            assert!(Item::decode(method, &payload.into()).is_ok(), "{}: item with result {result}", case["name"]);
        }
    }
}

#[test]
fn streams_that_every_implementation_of_the_framing_knows() {
    let responses = file("responses.json");
    let stream = |name: &str| {
        let case = list(&responses["good"]).iter().find(|case| text(&case["name"]) == name).unwrap();
        text(&case["stream"]).to_owned()
    };
    assert_eq!(stream("pong 1"), "0x0008ff060000734e61507059010c00000175de410100000000000000");
    assert_eq!(stream("server error with a text"), "0x020aff060000734e61507059010e000049b97aaf544553545f4552524f52");
    let requests = file("requests.json");
    let ping = &list(&requests["accepted"])[1];
    assert_eq!(text(&ping["framed"]), "0x08ff060000734e61507059010c00000175de410100000000000000");
}

#[test]
fn vote_signatures_verify() {
    let file = file("certificates.json");
    for case in list(&file["signing"]) {
        let message = bytes(&case["signing_bytes"]);
        let data: VoteSigningData = decode(&message).unwrap();
        assert_eq!(data.genesis_id, fixed::<32>(&file["genesis"]["id"]));
        assert_eq!(data.value_id, fixed::<32>(&case["value_id"]));
        for signature in list(&case["signatures"]) {
            let keys = list(&file["keys"]).iter();
            let key = keys.clone().find(|key| key["address"] == signature["address"]).unwrap();
            let validator = Validator { public_key: fixed(&key["public_key"]), power: 1 };
            assert_eq!(validator.address(), fixed(&key["address"]));
            let public: Bytes32 = validator.public_key;
            let verifier = ed25519_consensus::VerificationKey::try_from(public.0).unwrap();
            let bytes: [u8; 64] = bytes(&signature["signature"]).try_into().unwrap();
            verifier.verify(&bytes.into(), &message).unwrap();
        }
    }
}

/// Kind and content of a frame, without what its length and checksum add.
type Frame = (u8, Vec<u8>);

/// The frames of an archive, up to its end or its fault.
fn archive(mut bytes: &[u8]) -> (Vec<Frame>, Result<(), ArchiveError>) {
    let mut take = |count: usize| {
        let (taken, rest) = bytes.split_at(count.min(bytes.len()));
        bytes = rest;
        taken
    };
    let mut frames = Vec::new();
    let mut read = || {
        let mut head = HeaderDecoder::new();
        let header = loop {
            if let Some(header) = head.accept(take(head.wants()))? {
                break header;
            }
        };
        let mut decoder = Decoder::new(&header);
        while !decoder.is_complete() {
            frames.extend(decoder.accept(take(decoder.wants()))?.map(|event| frame(&event)));
        }
        decoder.accept(take(1)).map(drop)
    };
    let result = read();
    (frames, result)
}

fn frame(event: &Event) -> Frame {
    match event {
        Event::Height(height) => (1, height.to_le_bytes().to_vec()),
        Event::ValidatorSet(set) => (2, encode(set)),
        Event::Decided(decided) => (3, encode(&**decided)),
        Event::Payload(payload) => (4, encode(payload)),
        Event::Sidecar(sidecar) => (5, encode(sidecar)),
        Event::HeightEnd(_) => (6, Vec::new()),
        Event::End(end) => (7, [end.heights.to_le_bytes().as_slice(), end.last_value_id.as_slice()].concat()),
    }
}

#[test]
fn archives() {
    let file = file("archives.json");
    for case in list(&file["good"]) {
        let (frames, result) = archive(&bytes(&case["archive"]));
        assert!(result.is_ok(), "{}: {result:?}", case["name"]);
        let expected: Vec<_> = list(&case["frames"])
            .iter()
            .map(|frame| (u8::try_from(frame["kind"].as_u64().unwrap()).unwrap(), bytes(&frame["content"])))
            .collect();
        assert_eq!(frames, expected, "{}", case["name"]);
    }
    for case in list(&file["bad"]) {
        let fault = archive(&bytes(&case["archive"])).1.unwrap_err().fault;
        let name = format!("{fault:?}");
        let name = name.split(|c: char| !c.is_alphanumeric()).next().unwrap();
        assert_eq!(name, text(&case["expected"]), "{}", case["name"]);
    }
}

/// Where the parts of a record are, and the ranges stated for it.
fn ranges(record: &IndexRecord) -> Json {
    let sidecar_parts = record.sidecar_parts().map(|(range, _)| range);
    let parts = [record.payload_part()].into_iter().chain(sidecar_parts);
    parts.map(|range| serde_json::json!([range.start, range.end])).collect()
}

#[test]
fn indexes() {
    let file = file("indexes.json");
    for case in list(&file["good"]) {
        let ssz = bytes(&case["index"]);
        let index = Index::decode(&ssz).unwrap();
        assert_eq!(index.encode(), ssz, "{}", case["name"]);
        assert_eq!(index.compression() as u64, case["compression"]);
        assert_eq!((index.first(), index.last()), (case["first"].as_u64().unwrap(), case["last"].as_u64().unwrap()));
        assert_eq!(*index.genesis_id(), fixed(&case["genesis_id"]));
        assert_eq!(index.records().len(), list(&case["records"]).len());
        for (record, stated) in index.records().iter().zip(list(&case["records"])) {
            let sets: Vec<_> = record.sets().iter().map(encode).collect();
            assert_eq!(sets, list(&stated["sets"]).iter().map(bytes).collect::<Vec<_>>(), "{}", case["name"]);
            assert_eq!(encode(record.decided()), bytes(&stated["decided_value"]), "{}", case["name"]);
            assert_eq!(ranges(record), stated["parts"], "{}", case["name"]);
        }
    }
    for case in list(&file["bad"]) {
        let fault = Index::decode(&bytes(&case["index"])).unwrap_err().fault;
        assert_eq!(variant(fault), text(&case["expected"]), "{}", case["name"]);
    }
}

#[test]
fn the_parts_of_an_archive_are_where_its_index_says() {
    let indexed = &file("indexes.json")["good"][0];
    let stored = bytes(&file("archives.json")["good"][0]["archive"]);
    let (frames, _) = archive(&stored);
    let payloads: Vec<_> = frames.iter().filter(|(kind, _)| *kind == 4).map(|(_, content)| content).collect();
    let index = Index::decode(&bytes(&indexed["index"])).unwrap();
    for (record, payload) in index.records().iter().zip(payloads) {
        let range = record.payload_part();
        let mut rest = &stored[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()];
        let mut decoder = Decoder::of_payload_part(record.height());
        let mut found = None;
        while !decoder.is_complete() {
            let (taken, left) = rest.split_at(decoder.wants());
            rest = left;
            if let Some(Event::Payload(envelope)) = decoder.accept(taken).unwrap() {
                found = Some(envelope);
            }
        }
        assert!(rest.is_empty());
        assert_eq!(encode(&found.unwrap()), *payload);
    }
}
