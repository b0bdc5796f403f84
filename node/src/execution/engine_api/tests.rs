#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use alloy_primitives::{B256, hex};
use alloy_rpc_types_engine::{ExecutionPayloadV3, ForkchoiceState, PayloadAttributes, PayloadId};
use axum::{Json as Body, Router, extract::State, routing::post};
use serde_json::{Value as Json, json};
use ssz::Decode as _;
use tokio::{net::TcpListener, task::AbortHandle};

use super::*;
use crate::execution::{
    Fork, PayloadStatus,
    fixtures::{Case, versioned_hashes},
};

type Calls = Arc<Mutex<Vec<Json>>>;

/// A server that gives every call the same result.
struct Server {
    api: EngineApi,
    calls: Calls,
    task: AbortHandle,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    async fn with(result: Json, max_blobs: usize) -> Self {
        let calls = Calls::default();
        let answer = async move |State((calls, result)): State<(Calls, Json)>, Body(call): Body<Json>| {
            let id = call["id"].clone();
            calls.lock().unwrap().push(call);
            Body(json!({ "jsonrpc": "2.0", "id": id, "result": result }))
        };
        let router = Router::new().route("/", post(answer)).with_state((Arc::clone(&calls), result));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() }).abort_handle();
        let settings = EngineApiSettings {
            url,
            secret: JwtSecret::from_hex(&"7".repeat(64)).unwrap(),
            payload_timeout: Duration::from_secs(60),
            call_timeout: Duration::from_secs(60),
            max_blobs,
        };
        Self { api: EngineApi::new(settings, CallObserver::default()).unwrap(), calls, task }
    }

    fn last_call(&self) -> Json {
        self.calls.lock().unwrap().last().unwrap().clone()
    }
}

fn blob_json(byte: u8) -> String {
    format!("0x{}", hex::encode(vec![byte; lapis_protocol_spec::BYTES_PER_BLOB]))
}

fn short_json(byte: u8) -> String {
    format!("0x{}", hex::encode_upper([byte; 48]))
}

fn built(payload: &ExecutionPayloadV3, blobs: u8) -> Json {
    let all = |one: fn(u8) -> String| (0..blobs).map(one).collect::<Vec<_>>();
    json!({
        "executionPayload": payload,
        "blockValue": "0x1C",
        "blobsBundle": { "commitments": all(short_json), "proofs": all(short_json), "blobs": all(blob_json) },
        "shouldOverrideBuilder": false,
        "somethingNew": { "a": 1 },
    })
}

#[tokio::test]
async fn a_built_block_comes_with_its_blobs_and_its_requests() {
    for fork in [Fork::Cancun, Fork::Prague] {
        let case = Case::first(fork, 2);
        let payload = ExecutionPayloadV3::from_ssz_bytes(&case.built.payload).unwrap();
        let mut answer = built(&payload, 2);
        if fork == Fork::Prague {
            answer["executionRequests"] = json!(["0x00aaBB"]);
        }
        let server = Server::with(answer, 2).await;
        let id: PayloadId = serde_json::from_value(json!("0x0011223344556677")).unwrap();
        let found = server.api.built_payload(id, fork).await.unwrap();
        assert_eq!(found.payload_ssz(), case.built.payload);
        assert_eq!((found.blobs.len(), found.blobs[1].kzg_proof.0), (2, [1; 48]));
        assert_eq!((found.blobs[1].blob.as_array()[9], found.blobs[0].kzg_commitment.0), (1, [0; 48]));
        let (method, requests): (_, Vec<&[u8]>) = match fork {
            Fork::Cancun => ("engine_getPayloadV3", Vec::new()),
            Fork::Prague => ("engine_getPayloadV4", vec![&[0, 0xaa, 0xbb]]),
        };
        assert_eq!(found.execution_requests, requests);
        let call = server.last_call();
        assert_eq!((call["method"].as_str(), &call["params"]), (Some(method), &json!(["0x0011223344556677"])));
    }
}

#[tokio::test]
async fn before_prague_null_is_as_good_as_no_requests() {
    let case = Case::first(Fork::Cancun, 1);
    let mut answer = built(&ExecutionPayloadV3::from_ssz_bytes(&case.built.payload).unwrap(), 1);
    answer["executionRequests"] = Json::Null;
    let server = Server::with(answer, 1).await;
    let found = server.api.built_payload(PayloadId::default(), Fork::Cancun).await.unwrap();
    assert_eq!((found.payload_ssz(), found.execution_requests), (case.built.payload, Vec::new()));
}

#[tokio::test]
async fn bundles_that_do_not_match_and_blobs_of_another_length_are_no_answer() {
    let case = Case::first(Fork::Cancun, 2);
    let payload = ExecutionPayloadV3::from_ssz_bytes(&case.built.payload).unwrap();
    let mut fewer = built(&payload, 2);
    fewer["blobsBundle"]["proofs"] = json!([short_json(1)]);
    let mut shorter = built(&payload, 1);
    shorter["blobsBundle"]["blobs"] = json!(["0x00"]);
    for (answer, reason) in [(fewer, "as many"), (shorter, "1 bytes")] {
        let server = Server::with(answer, 2).await;
        let error = server.api.built_payload(PayloadId::default(), Fork::Cancun).await.unwrap_err();
        assert!(error.to_string().contains(reason), "{error}");
    }
}

#[tokio::test]
async fn building_begins_with_attributes_and_an_id() {
    let answer = json!({ "payloadStatus": { "status": "VALID" }, "payloadId": "0xABCDEF0123456789" });
    let server = Server::with(answer, 0).await;
    let root = Some(B256::repeat_byte(3));
    let attributes = PayloadAttributes {
        timestamp: 17,
        withdrawals: Some(Vec::new()),
        parent_beacon_block_root: root,
        ..PayloadAttributes::default()
    };
    let head = ForkchoiceState::same_hash(B256::repeat_byte(9));
    let (status, id) = server.api.start_building(head, attributes).await.unwrap();
    assert!(matches!(status, PayloadStatus::Valid { .. }));
    assert_eq!(id.unwrap().to_string(), "0xabcdef0123456789");
    let params = &server.last_call()["params"];
    assert_eq!(params[0]["headBlockHash"], format!("0x{}", "09".repeat(32)));
    assert_eq!((&params[1]["timestamp"], &params[1]["withdrawals"]), (&json!("0x11"), &json!([])));
    server.api.forkchoice_updated(head).await.unwrap();
    assert_eq!(server.last_call()["params"][1], Json::Null);
}

#[tokio::test]
async fn blobs_of_the_pool_are_matched_to_the_hashes_by_place() {
    let blob = json!({ "blob": blob_json(7), "proof": short_json(8) });
    let hashes = versioned_hashes(3);
    let server = Server::with(json!([blob, null]), 3).await;
    let found = server.api.blobs(&hashes).await.unwrap();
    assert_eq!(found.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false, false]);
    assert_eq!(found[0].as_ref().unwrap().kzg_proof.0, [8; 48]);
    assert_eq!(server.last_call()["params"], json!([hashes]));
    // As a whole null: a client that has not all of them, or is not sure.
    let server = Server::with(Json::Null, 3).await;
    assert_eq!(server.api.blobs(&hashes).await.unwrap(), [None, None, None]);
    // No client is asked for more than it has to take.
    let server = Server::with(json!([]), 3).await;
    assert_eq!(server.api.blobs(&versioned_hashes(MAX_BLOBS_PER_CALL + 1)).await.unwrap().len(), MAX_BLOBS_PER_CALL);
}

#[tokio::test]
async fn an_answer_longer_than_any_right_one_is_not_read_to_its_end() {
    let server = Server::with(json!("x".repeat(5 << 20)), 0).await;
    let error = server.api.latest_block().await.unwrap_err();
    assert!(matches!(error, EngineApiError::TooLong { method: "eth_getBlockByNumber", .. }), "{error}");
    // The same length is fine where a payload may be.
    let id = PayloadId::default();
    let error = server.api.built_payload(id, Fork::Cancun).await.unwrap_err();
    assert!(matches!(error, EngineApiError::Incomprehensible { .. }), "{error}");
}

#[tokio::test]
async fn nothing_is_said_of_the_secret_or_of_passwords_in_the_url() {
    let settings = EngineApiSettings {
        // Nothing listens on the discard port of the loopback interface.
        url: "http://user:hunter2@127.0.0.1:9".parse().unwrap(),
        secret: JwtSecret::from_hex(&"7".repeat(64)).unwrap(),
        payload_timeout: Duration::from_secs(60),
        call_timeout: Duration::from_secs(60),
        max_blobs: 0,
    };
    let api = EngineApi::new(settings, CallObserver::default()).unwrap();
    let error = api.latest_block().await.unwrap_err();
    assert!(matches!(error, EngineApiError::Unreachable(_)), "{error}");
    let text = format!("{error} {error:?}");
    assert!(!text.contains("hunter2") && !text.contains("7777"), "{text}");
}
