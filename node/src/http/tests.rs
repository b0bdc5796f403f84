#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::{net::SocketAddr, num::NonZeroUsize, sync::Arc, time::Duration};

use lapis_protocol_spec::Bytes32;
use libp2p::PeerId;
use prometheus_client::{metrics::counter::Counter, registry::Registry};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::watch,
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{
    config::HttpConfig,
    status::{NodeStatus, PeerView, Stall, StallReason},
};

/// A running server and what it shows.
struct Fixture {
    address: SocketAddr,
    status: watch::Sender<NodeStatus>,
    _peers: watch::Sender<Vec<PeerView>>,
    stop: CancellationToken,
    served: JoinHandle<Result<(), ServeError>>,
}

fn config() -> HttpConfig {
    HttpConfig { listen: SocketAddr::from(([127, 0, 0, 1], 0)), ..HttpConfig::default() }
}

async fn start(config: &HttpConfig) -> Fixture {
    let mut registry = Registry::default();
    let counter: Counter = Counter::default();
    counter.inc_by(41);
    registry.register("answers", "Answers given", counter);
    let starting = NodeStatus::starting(Bytes32::from([7; 32]), "chain".to_owned(), PeerId::random());
    let (status, status_view) = watch::channel(starting);
    let (peers, peers_view) = watch::channel(Vec::new());
    let server = bind(config.listen, config).await.unwrap();
    let address = server.address();
    let stop = CancellationToken::new();
    let views = Views { registry: Arc::new(registry), status: status_view, peers: peers_view };
    let served = tokio::spawn(server.serve(router(views), stop.clone()));
    Fixture { address, status, _peers: peers, stop, served }
}

/// Sends `request` as it stands and reads until the server closes.
async fn exchange(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).await.unwrap();
    response
}

async fn get(address: SocketAddr, path: &str) -> (u16, String, String) {
    let response = exchange(address, &format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    let code = head.split(' ').nth(1).unwrap().parse().unwrap();
    (code, head.to_lowercase(), body.to_owned())
}

async fn get_json(address: SocketAddr, path: &str) -> (u16, Value) {
    let (code, head, body) = get(address, path).await;
    assert!(head.contains("content-type: application/json"), "{head}");
    (code, serde_json::from_str(&body).unwrap())
}

#[tokio::test]
async fn metrics_are_open_metrics() {
    let fixture = start(&config()).await;
    let (code, head, body) = get(fixture.address, "/metrics").await;
    assert_eq!(code, 200);
    assert!(head.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8"), "{head}");
    assert!(body.contains("answers_total 41") && body.ends_with("# EOF\n"), "{body}");
}

#[tokio::test]
async fn readiness_follows_the_node() {
    let fixture = start(&config()).await;
    let (code, body) = get_json(fixture.address, "/readyz").await;
    assert_eq!((code, &body["ready"], &body["reasons"][0]), (503, &Value::Bool(false), &"starting".into()));
    fixture.status.send_modify(|status| {
        status.ready = true;
        status.not_ready.clear();
    });
    let (code, body) = get_json(fixture.address, "/readyz").await;
    assert_eq!((code, &body["ready"]), (200, &Value::Bool(true)));
}

#[tokio::test]
async fn a_node_that_is_gone_is_neither_live_nor_ready() {
    let fixture = start(&config()).await;
    assert_eq!(get_json(fixture.address, "/livez").await.0, 200);
    fixture.status.send_modify(|status| status.ready = true);
    drop(fixture.status);
    let (code, body) = get_json(fixture.address, "/livez").await;
    assert_eq!((code, &body["reasons"][0]), (503, &"the node has stopped".into()));
    assert_eq!(get_json(fixture.address, "/readyz").await.0, 503);
}

#[tokio::test]
async fn the_status_is_the_published_one() {
    let fixture = start(&config()).await;
    fixture.status.send_modify(|status| {
        status.decided_height = 840;
        status.stall = Some(Stall::new(StallReason::NoPeerHasData, "no peer has 812..840"));
    });
    let (code, body) = get_json(fixture.address, "/status").await;
    assert_eq!(code, 200);
    let expected = fixture.status.borrow().clone();
    assert_eq!(serde_json::from_value::<NodeStatus>(body).unwrap(), expected);
    assert_eq!(get_json(fixture.address, "/peers").await, (200, Value::Array(Vec::new())));
}

#[tokio::test]
async fn other_paths_and_methods_are_refused_in_json() {
    let fixture = start(&config()).await;
    let (code, body) = get_json(fixture.address, "/statsu").await;
    assert_eq!((code, &body["path"]), (404, &"/statsu".into()));
    let response = exchange(fixture.address, "DELETE /status HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(response.starts_with("HTTP/1.1 405 "), "{response}");
}

#[tokio::test]
async fn a_body_is_refused_before_it_is_sent() {
    let fixture = start(&config()).await;
    let response =
        exchange(fixture.address, "GET /status HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000000\r\n\r\n").await;
    assert!(response.starts_with("HTTP/1.1 413 "), "{response}");
}

#[tokio::test]
async fn an_endless_head_is_refused() {
    let fixture = start(&config()).await;
    let mut stream = TcpStream::connect(fixture.address).await.unwrap();
    // The server answers and closes while this still writes; either may be seen as a reset.
    let line = format!("X-Filler: {}\r\n", "x".repeat(1024));
    let _ = stream.write_all(b"GET /status HTTP/1.1\r\nHost: x\r\n").await;
    for _ in 0..64 {
        if stream.write_all(line.as_bytes()).await.is_err() {
            return;
        }
    }
    let mut response = Vec::new();
    let _ = stream.read_to_end(&mut response).await;
    let response = String::from_utf8_lossy(&response);
    assert!(response.is_empty() || response.starts_with("HTTP/1.1 431 "), "{response}");
}

#[tokio::test]
async fn a_silent_client_is_cut_off_and_its_place_goes_to_the_next() {
    let one_at_a_time =
        HttpConfig { max_connections: NonZeroUsize::MIN, timeout: Duration::from_millis(200), ..config() };
    let fixture = start(&one_at_a_time).await;
    let mut silent = TcpStream::connect(fixture.address).await.unwrap();
    // Only answered once the silent one has lost its place.
    let (code, _) = get_json(fixture.address, "/livez").await;
    assert_eq!(code, 200);
    let mut rest = Vec::new();
    let _ = silent.read_to_end(&mut rest).await;
    assert!(!String::from_utf8_lossy(&rest).starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn an_address_in_use_is_named() {
    let fixture = start(&config()).await;
    let taken = HttpConfig { listen: fixture.address, ..HttpConfig::default() };
    let error = bind(taken.listen, &taken).await.unwrap_err();
    assert_eq!(error.to_string(), format!("cannot listen for HTTP on {}", fixture.address));
    assert_eq!(error.source.kind(), std::io::ErrorKind::AddrInUse);
}

#[tokio::test]
async fn a_stop_finishes_the_request_under_way() {
    let fixture = start(&config()).await;
    let mut stream = TcpStream::connect(fixture.address).await.unwrap();
    stream.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut first = [0];
    stream.read_exact(&mut first).await.unwrap();
    fixture.stop.cancel();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).await.unwrap();
    assert!(rest.starts_with("TTP/1.1 200 "), "{rest}");
    fixture.served.await.unwrap().unwrap();
    assert!(TcpStream::connect(fixture.address).await.is_err());
}
