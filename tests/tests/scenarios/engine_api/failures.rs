//! A client that does not answer, or does not make sense.

use std::{fs, time::Duration};

use lapis_node::status::StallReason;
use lapis_tests::{EngineServer, Home, Reaction, ScriptedPeer, Setup, TestNode};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{all_imported, chain_of, engine_is, node_with};

/// The first payload gets `reaction` until the node has said `kind`; nobody else pays for it, and nothing is lost.
async fn fails(reaction: Reaction, kind: &str, stall: StallReason) {
    let chain = chain_of(4);
    let peer = ScriptedPeer::honest(&chain).await;
    let client = EngineServer::start(&chain).await;
    client.order_always("engine_newPayloadV3", reaction.clone());
    let mut setup = client.engine_of(Setup::peers([peer.address()]));
    if matches!(reaction, Reaction::Silence) {
        setup.config.engine.payload_timeout = Duration::from_millis(100);
    }
    let node = Home::new(&chain).start(setup).await;
    let status = engine_is(&node, kind).await;
    assert_eq!(status.stall.expect("it holds everything up").reason, stall, "{kind}");
    assert_eq!(status.imported_height, 0);
    client.called("engine_newPayloadV3", 3).await;
    client.behave();
    all_imported(&node, &chain, &client).await;
    node.assert_unblemished(peer.peer_id()).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_401_403_and_tokens_refused_over_json_rpc() {
    fails(Reaction::Http(401, ""), "unauthorized", StallReason::ExecutionUnauthorized).await;
    fails(Reaction::Http(403, "go away"), "unauthorized", StallReason::ExecutionUnauthorized).await;
    let refused = Reaction::Error(-32000, "Auth failed: Invalid or missing token");
    fails(refused, "unauthorized", StallReason::ExecutionUnauthorized).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_500_and_internal_errors() {
    fails(Reaction::Http(500, "panic at somewhere"), "failing", StallReason::ExecutionUnavailable).await;
    let as_json = "{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":-32603,\"message\":\"disk\"}}";
    fails(Reaction::Http(500, as_json), "failing", StallReason::ExecutionUnavailable).await;
    fails(Reaction::Error(-32000, "database is closed"), "failing", StallReason::ExecutionUnavailable).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silence() {
    fails(Reaction::Silence, "timed_out", StallReason::ExecutionUnavailable).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_and_bodies_without_an_end() {
    for body in ["<html>hello</html>", "{\"jsonrpc\":\"2.0\"", "{\"jsonrpc\":\"2.0\",\"id\":1}", "[]", "", "\"VALID\""]
    {
        fails(Reaction::Http(200, body), "incomprehensible", StallReason::ExecutionUnavailable).await;
    }
    fails(Reaction::Result("VALID".into()), "incomprehensible", StallReason::ExecutionUnavailable).await;
    fails(Reaction::Endless, "incomprehensible", StallReason::ExecutionUnavailable).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_are_cut_again_and_again() {
    fails(Reaction::Cut, "unreachable", StallReason::ExecutionUnavailable).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_families_of_error_codes() {
    for code in [-32602, -38005, -32601, -38004] {
        fails(Reaction::Error(code, "no"), "refusing", StallReason::ExecutionRefuses).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_is_closed_once_costs_one_more_call_and_nothing_else() {
    let chain = chain_of(4);
    let client = EngineServer::start(&chain).await;
    client.order("engine_newPayloadV3", 1, Reaction::Cut);
    let node = node_with(&chain, &client).await;
    all_imported(&node, &chain, &client).await;
    assert_eq!(client.methods()[2..5], ["newPayloadV3", "newPayloadV3", "newPayloadV3"]);
    assert_eq!(client.calls()[2].params, client.calls()[3].params);
    assert_ne!(client.calls()[2].connection, client.calls()[3].connection);
    assert_eq!(client.count("engine_exchangeCapabilities"), 1);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pooled_connections_that_the_client_closes_are_not_noticed() {
    let chain = chain_of(12);
    let client = EngineServer::start(&chain).await;
    client.close_connections();
    let node = node_with(&chain, &client).await;
    all_imported(&node, &chain, &client).await;
    assert_eq!(client.count("engine_exchangeCapabilities"), 1, "no call failed");
    node.stop().await;
}

/// What the node's `/metrics` says.
async fn scrape(node: &TestNode) -> String {
    let mut stream = TcpStream::connect(node.handle().http.expect("HTTP is on")).await.unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: node\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_is_not_there_yet() {
    let chain = chain_of(4);
    let mut client = EngineServer::start(&chain).await;
    client.stop().await;
    let mut setup = client.setup();
    setup.config.http.enabled = true;
    setup.config.http.listen = "127.0.0.1:0".parse().unwrap();
    let node = Home::holding(&chain, chain.blocks()).start(setup).await;
    let status = engine_is(&node, "unreachable").await;
    assert!(status.engine.state.contains("height 1"), "{}", status.engine.state);
    let metrics = scrape(&node).await;
    assert!(metrics.contains("lapis_import_state{kind=\"unreachable\"} 1\n"), "{metrics}");
    assert!(metrics.contains("outcome=\"unreachable\""), "{metrics}");
    client.restart().await;
    all_imported(&node, &chain, &client).await;
    engine_is(&node, "idle").await;
    let metrics = scrape(&node).await;
    let state = |kind: &str, value: u8| metrics.contains(&format!("lapis_import_state{{kind=\"{kind}\"}} {value}\n"));
    assert!(state("unreachable", 0) && state("idle", 1), "{metrics}");
    assert!(metrics.contains("lapis_engine_call_time_seconds_count{method=\"engine_newPayloadV3\"}"), "{metrics}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_is_restarted_in_mid_import() {
    let chain = chain_of(6);
    let mut client = EngineServer::start(&chain).await;
    client.order("engine_newPayloadV4", 1, Reaction::Silence);
    let node = node_with(&chain, &client).await;
    client.called("engine_newPayloadV4", 1).await;
    client.stop().await;
    engine_is(&node, "unreachable").await;
    client.restart().await;
    all_imported(&node, &chain, &client).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_secret() {
    let chain = chain_of(2);
    let client = EngineServer::start(&chain).await;
    let mut setup = client.setup();
    let other = client.jwt_path().with_extension("other");
    fs::write(&other, "a5".repeat(32)).unwrap();
    setup.config.engine.jwt_secret = Some(other);
    let node = Home::holding(&chain, chain.blocks()).start(setup).await;
    let status = engine_is(&node, "unauthorized").await;
    assert!(status.engine.state.contains("engine.jwt_secret"), "{}", status.engine.state);
    let home = node.stop().await;
    let node = home.start(client.setup()).await;
    all_imported(&node, &chain, &client).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_lacks_the_version_that_the_chain_needs() {
    let chain = chain_of(2);
    let client = EngineServer::start(&chain).await;
    let old = serde_json::json!(["engine_newPayloadV3", "engine_forkchoiceUpdatedV3"]);
    client.order_always("engine_exchangeCapabilities", Reaction::Result(old));
    let node = node_with(&chain, &client).await;
    let status = engine_is(&node, "refusing").await;
    assert!(status.engine.state.contains("engine_newPayloadV4"), "{}", status.engine.state);
    // Another version of the client is started.
    client.behave();
    all_imported(&node, &chain, &client).await;
    node.stop().await;
}
