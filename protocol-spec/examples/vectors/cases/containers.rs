//! SSZ bytes and roots of every container, and encodings that must be refused.

use lapis_protocol_spec::{
    BlobSidecar, ByteList, Bytes32, Bytes48, ChainLink, DecidedValue, ExecutionRequests, Genesis, HeightRange,
    PayloadEnvelope, Status, ValidatorSet, Value,
    certificate::{VoteKind, VoteSigningData},
    encode,
    payload::requests_hash,
    versioned_hash,
};
use serde_json::{Value as Json, json};
use ssz_rs::{Merkleized, SimpleSerialize};

use super::{Failure, hex, objects};

pub(crate) fn file() -> Result<Json, Failure> {
    let members = objects::members(&[(1, 10), (2, 20), (3, 30), (4, 40)]);
    let set = objects::set_of(&members)?;
    let genesis = objects::genesis(set.clone())?;
    let tip = ChainLink::genesis(&genesis);
    let value = objects::successor(&tip, &set, 3)?;
    let decided = objects::decide(genesis.id(), value.clone(), 1, &members)?;
    let envelope = objects::envelope(&value)?;
    let status = status(genesis.id(), value.id());
    let signing = VoteSigningData::signing_bytes(genesis.id(), VoteKind::Precommit, 1, 1, value.id());
    let signing: VoteSigningData = lapis_protocol_spec::decode(&signing)?;
    let containers = vec![
        case("a validator", "Validator", &members.first().ok_or("no member")?.validator)?,
        case("four validators in address order", "ValidatorSet", &set)?,
        case("a set without members (not legal, but an encoding)", "ValidatorSet", &ValidatorSet::default())?,
        case("a genesis", "Genesis", &genesis)?,
        case("a value without blobs", "Value", &Value { blob_kzg_commitments: Default::default(), ..value.clone() })?,
        case("a value with three commitments", "Value", &value)?,
        case("a value of zeros", "Value", &Value::default())?,
        case("a precommit", "CommitSignature", decided.certificate.signatures.first().ok_or("no signature")?)?,
        case("a certificate", "CommitCertificate", &decided.certificate)?,
        case("a decided value", "DecidedValue", &decided)?,
        case("a decided value of zeros", "DecidedValue", &DecidedValue::default())?,
        case("what a precommit signs", "VoteSigningData", &signing)?,
        case("a status", "Status", &status)?,
        case("a status that knows nothing", "Status", &Status::default())?,
        case("a range", "HeightRange", &HeightRange::new(5, 128))?,
        case("an envelope", "PayloadEnvelope", &envelope)?,
        case("an envelope without payload and requests", "PayloadEnvelope", &PayloadEnvelope::default())?,
        case("an envelope with empty requests", "PayloadEnvelope", &with_empty_requests(&envelope)?)?,
    ];
    Ok(json!({
        "containers": containers,
        "refused": refused(&value, &decided, &envelope, &genesis),
        "sidecar": sidecar()?,
        "hashes": hashes(&genesis, &value, &envelope),
    }))
}

fn status(genesis_id: Bytes32, decided_value_id: Bytes32) -> Status {
    Status {
        genesis_id,
        decided_height: 100,
        decided_value_id,
        available_height: 99,
        earliest_value_height: 1,
        earliest_payload_height: 2,
        earliest_blob_height: 50,
    }
}

fn with_empty_requests(envelope: &PayloadEnvelope) -> Result<PayloadEnvelope, Failure> {
    let requests = vec![ByteList::default(), ByteList::new(&[1, 2][..]).ok_or("request")?, ByteList::default()];
    Ok(PayloadEnvelope { execution_requests: ExecutionRequests::try_from(requests)?, ..envelope.clone() })
}

fn case<T: SimpleSerialize + Clone>(name: &str, kind: &str, object: &T) -> Result<Json, Failure> {
    let root = object.clone().hash_tree_root()?;
    Ok(json!({ "name": name, "type": kind, "ssz": hex(encode(object)), "root": hex(root) }))
}

/// `bytes` with a little-endian word put at `at`.
fn with_word(bytes: &[u8], at: usize, word: u32) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes.iter_mut().skip(at).zip(word.to_le_bytes()).for_each(|(slot, byte)| *slot = byte);
    bytes
}

fn refused(value: &Value, decided: &DecidedValue, envelope: &PayloadEnvelope, genesis: &Genesis) -> Vec<Json> {
    let (value, decided, genesis) = (encode(value), encode(decided), encode(genesis));
    let envelope = encode(envelope);
    let requests_at = 48 + 160;
    let case = |name: &str, kind: &str, ssz: &[u8]| json!({ "name": name, "type": kind, "ssz": hex(ssz) });
    let cut = |bytes: &[u8]| bytes.split_last().map(|(_, rest)| rest.to_vec()).unwrap_or_default();
    vec![
        case("nothing", "Value", &[]),
        case("the head is cut off", "Value", value.get(..271).unwrap_or_default()),
        case("a commitment is cut off", "Value", &cut(&value)),
        case("a byte after the last commitment", "Value", &[&value[..], &[0]].concat()),
        case("the first offset points into the head", "Value", &with_word(&value, 268, 271)),
        case("a gap after the head", "Value", &with_word(&value, 268, 272 + 48)),
        case("an offset beyond the end", "Value", &with_word(&value, 268, 10_000)),
        case("the largest offset", "Value", &with_word(&value, 268, u32::MAX)),
        case("offsets that run backwards", "DecidedValue", &with_word(&decided, 4, 7)),
        case("the second offset beyond the end", "DecidedValue", &with_word(&decided, 4, 1_000_000)),
        case("validators before the chain id", "Genesis", &with_word(&genesis, 28, 100)),
        case("a chain id of 65 bytes", "Genesis", &long_chain_id(&genesis)),
        case("a status of 103 bytes", "Status", &[0; 103]),
        case("a status of 105 bytes", "Status", &[0; 105]),
        case("half a validator", "ValidatorSet", &[&[4, 0, 0, 0][..], &[0; 20]].concat()),
        case("a first offset of zero with bytes after it", "PayloadEnvelope", &with_word(&envelope, requests_at, 0)),
        case("a first offset that is no multiple of four", "PayloadEnvelope", &with_word(&envelope, requests_at, 9)),
        case("a request beyond the end", "PayloadEnvelope", &with_word(&envelope, requests_at + 4, 10_000)),
        case("requests that run backwards", "PayloadEnvelope", &with_word(&envelope, requests_at + 4, 7)),
        case("65 requests", "PayloadEnvelope", &many_requests()),
    ]
}

fn long_chain_id(genesis: &[u8]) -> Vec<u8> {
    const HEAD: usize = 4 + 3 * 8 + 4 + 32 + 2 * 8;
    let head = with_word(genesis.get(..HEAD).unwrap_or_default(), 28, 84 + 65);
    let validators = genesis.get(HEAD + b"lapis-vectors".len()..).unwrap_or_default();
    [&head[..], &[b'x'; 65], validators].concat()
}

fn many_requests() -> Vec<u8> {
    let mut bytes = encode(&PayloadEnvelope::default());
    (0..65).for_each(|_| bytes.extend(260_u32.to_le_bytes()));
    bytes
}

fn sidecar() -> Result<Json, Failure> {
    let sidecar = BlobSidecar {
        height: 0x0102_0304_0506_0708,
        index: 5,
        kzg_commitment: objects::commitment(1),
        kzg_proof: objects::commitment(2),
        blob: objects::blob(3)?,
    };
    let encoding = encode(&sidecar);
    Ok(json!({
        "type": "BlobSidecar",
        "header": hex(encoding.get(..BlobSidecar::HEADER_BYTES).unwrap_or_default()),
        "blob_seed": 3,
        "bytes": encoding.len(),
        "ssz_sha256": hex(objects::sha256(&encoding)),
        "root": hex(sidecar.clone().hash_tree_root()?),
    }))
}

fn hashes(genesis: &Genesis, value: &Value, envelope: &PayloadEnvelope) -> Json {
    let mut infinity = Bytes48::ZERO;
    if let Some(first) = infinity.0.first_mut() {
        *first = 0xc0;
    }
    let versioned: Vec<Json> = value
        .blob_kzg_commitments
        .iter()
        .chain([&infinity])
        .map(|commitment| json!({ "commitment": hex(commitment), "versioned_hash": hex(versioned_hash(commitment)) }))
        .collect();
    let requests: Vec<String> = envelope.execution_requests.iter().map(|request| hex(&request[..])).collect();
    json!({
        "versioned_hashes": versioned,
        "genesis_id": hex(genesis.id()),
        "value_id": hex(value.id()),
        "payload": hex(&envelope.payload[..]),
        "payload_digest": hex(value.payload_digest),
        "requests_hash": [
            { "requests": [], "hash": hex(requests_hash([])) },
            { "requests": requests, "hash": hex(value.requests_hash) },
        ],
        "vote_domain": { "text": "lapis/vote/1", "sha256": hex(objects::sha256(b"lapis/vote/1")) },
    })
}
