//! A request of every method, and requests that must be refused.

use lapis_protocol_spec::{Bytes32, GoodbyeReason, HeightRange, Method, Request, Status, framing::Encoder};
use serde_json::{Value as Json, json};

use super::{Failure, hex, wire};

pub(crate) fn file() -> Result<Json, Failure> {
    let hashes = |count: u8| (1..=count).map(|at| Bytes32::from([at; 32])).collect::<Vec<_>>();
    let many = || "too many hashes";
    let status = Status { genesis_id: [0xaa; 32].into(), decided_height: 7, ..Status::default() };
    let requests = [
        ("a status", Request::Status(status)),
        ("ping 1", Request::Ping(1)),
        ("goodbye: too many peers", Request::Goodbye(GoodbyeReason::TooManyPeers)),
        ("decided values 1 to 128", Request::DecidedValuesByRange(HeightRange::new(1, 128))),
        ("a validator set", Request::ValidatorSetByRoot([0xbb; 32].into())),
        ("payload 9", Request::PayloadsByRange(HeightRange::new(9, 1))),
        ("payloads of two values", Request::PayloadsByRoot(hashes(2).try_into().map_err(|_| many())?)),
        ("no payload at all", Request::PayloadsByRoot(Vec::new().try_into().map_err(|_| many())?)),
        ("blobs 300 to 427", Request::BlobsByRange(HeightRange::new(300, 128))),
        ("blobs of three hashes", Request::BlobsByRoot(hashes(3).try_into().map_err(|_| many())?)),
    ];
    let mut accepted = Vec::new();
    for (name, request) in requests {
        let (method, ssz) = (request.method(), request.encode());
        let mut framed = Vec::new();
        Encoder::new().request(method.request_bounds(), &[&ssz], &mut framed)?;
        accepted.push(json!({
            "name": name,
            "method": method.name(),
            "protocol_id": method.protocol_id(),
            "ssz": hex(ssz),
            "framed": hex(framed),
        }));
    }
    Ok(json!({ "accepted": accepted, "bad_framing": bad_framing(), "bad_ranges": bad_ranges() }))
}

fn bad_framing() -> Vec<Json> {
    let ping = wire::payload(&1_u64.to_le_bytes());
    let case = |name: &str, method: Method, framed: &[u8], expected: &str| json!({ "name": name, "method": method.name(), "framed": hex(framed), "expected": expected });
    let cut = ping.split_last().map(|(_, rest)| rest).unwrap_or_default();
    vec![
        case("nothing", Method::Ping, &[], "EndedInPrefix"),
        case("half a length", Method::Ping, &[0x88], "EndedInPrefix"),
        case("the last byte is missing", Method::Ping, cut, "EndedInPayload"),
        case("a byte after the request", Method::Ping, &[&ping[..], &[0]].concat(), "BytesAfterRequest"),
        case(
            "padding after the request",
            Method::Ping,
            &[&ping[..], &wire::frame(0xfe, &[0])].concat(),
            "BytesAfterRequest",
        ),
        case("a ping of seven bytes", Method::Ping, &wire::payload(&[0; 7]), "LengthBelowMinimum"),
        case("a ping of nine bytes", Method::Ping, &wire::payload(&[0; 9]), "LengthAboveMaximum"),
        case("1025 hashes", Method::BlobsByRoot, &wire::varint(32 * 1025), "LengthAboveMaximum"),
        case("129 value ids", Method::PayloadsByRoot, &wire::varint(32 * 129), "LengthAboveMaximum"),
        case("33 bytes of hashes (a legal frame, not SSZ)", Method::BlobsByRoot, &wire::payload(&[0; 33]), "Ssz"),
    ]
}

fn bad_ranges() -> Vec<Json> {
    let case = |name: &str, start: u64, count: u64, expected: &str| {
        let ssz = [start.to_le_bytes(), count.to_le_bytes()].concat();
        json!({ "name": name, "ssz": hex(ssz), "expected": expected })
    };
    vec![
        case("no heights", 1, 0, "Empty"),
        case("start at zero", 0, 1, "StartsAtZero"),
        case("the end overflows", 2, u64::MAX, "Overflow"),
        case("the end is 2^64", u64::MAX, 1, "Overflow"),
        case("many heights (legal: a responder clamps)", 1, u64::MAX - 1, "valid"),
        case("the last heights", u64::MAX - 1, 1, "valid"),
    ]
}
