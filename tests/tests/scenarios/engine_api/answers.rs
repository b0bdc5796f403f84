//! What a client may answer.

use std::time::{Duration, SystemTime};

use lapis_node::status::StallReason;
use lapis_tests::{
    EngineServer, Home, Reaction, ScriptedPeer, Setup,
    engine_server::{forkchoice, status},
};

use super::{all_imported, chain_of, engine_is, node_with};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_height_is_offered_in_order_and_made_the_head() {
    let chain = chain_of(8);
    let client = EngineServer::start(&chain).await;
    let node = node_with(&chain, &client).await;
    all_imported(&node, &chain, &client).await;
    let numbers: Vec<_> = client
        .calls()
        .iter()
        .filter(|call| call.method.starts_with("engine_newPayload"))
        .map(|call| (call.method.clone(), call.params[0]["blockNumber"].as_str().unwrap().to_owned()))
        .collect();
    let expected: Vec<_> = (1..=8)
        .map(|height| {
            let version = if height < 4 { 3 } else { 4 };
            (format!("engine_newPayloadV{version}"), format!("{height:#x}"))
        })
        .collect();
    assert_eq!(numbers, expected);
    assert_eq!(client.methods()[..2], ["exchangeCapabilities", "eth_getBlockByNumber"]);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    for call in client.calls() {
        let issued = Duration::from_secs(call.issued_at.expect("every call is signed"));
        assert!(now.abs_diff(issued) < Duration::from_secs(60), "{call:?}");
    }
    engine_is(&node, "idle").await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invalid_halts_with_the_evidence_kept_until_people_have_looked_at_it() {
    let chain = chain_of(8);
    let peer = ScriptedPeer::honest(&chain).await;
    for name in ["INVALID", "INVALID_BLOCK_HASH"] {
        let client = EngineServer::start(&chain).await;
        let mut invalid = status(name);
        invalid["validationError"] = "mismatched state root".into();
        client.order("engine_newPayloadV4", 1, Reaction::Result(invalid));
        let node = Home::new(&chain).start(client.engine_of(Setup::peers([peer.address()]))).await;
        let halted = engine_is(&node, "halted").await;
        assert_eq!(halted.stall.unwrap().reason, StallReason::ImportHalted);
        assert!(halted.engine.state.contains("height 4") && halted.engine.state.contains("mismatched state root"));
        let evidence = std::fs::read(halted.engine.evidence.expect("evidence is named")).unwrap();
        let evidence: serde_json::Value = serde_json::from_slice(&evidence).unwrap();
        assert_eq!(evidence["height"], 4);
        assert_eq!(evidence["blockHash"], chain.block(4).value.value().block_hash.to_string());
        assert!(evidence["answer"].as_str().unwrap().contains(name));
        assert!(evidence["payloadSsz"].as_str().unwrap().len() > 1000);
        node.assert_unblemished(peer.peer_id()).await;
        node.imported(3).await;
        assert_eq!(client.head(), Some(3), "what was valid is kept");
        let home = node.stop().await;
        assert_eq!(home.store().watermarks().imported, 3);
        // Somebody has repaired the client.
        let node = home.start(client.setup()).await;
        all_imported(&node, &chain, &client).await;
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invalid_head_halts_as_well() {
    let chain = chain_of(5);
    let client = EngineServer::start(&chain).await;
    client.order("engine_forkchoiceUpdatedV3", 1, Reaction::Result(forkchoice("INVALID")));
    let node = node_with(&chain, &client).await;
    let halted = engine_is(&node, "halted").await;
    let evidence = std::fs::read_to_string(halted.engine.evidence.expect("evidence is named")).unwrap();
    assert!(evidence.contains(&chain.block(5).value.value().block_hash.to_string()));
    assert_eq!(client.count("engine_forkchoiceUpdatedV3"), 1);
    assert_eq!(node.stop().await.store().watermarks().imported, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn syncing_then_valid() {
    let chain = chain_of(6);
    let client = EngineServer::start(&chain).await;
    client.order("engine_newPayloadV3", 3, Reaction::Result(status("SYNCING")));
    let node = node_with(&chain, &client).await;
    all_imported(&node, &chain, &client).await;
    // The forkchoice update follows at once: the client has something to sync to.
    let order = ["newPayloadV3", "forkchoiceUpdatedV3"];
    assert_eq!(client.methods()[2..4], order);
    assert_eq!(client.calls()[3].params[0]["headBlockHash"], chain.block(1).value.value().block_hash.to_string());
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forkchoice_updates_go_on_while_the_client_syncs_and_import_goes_on_where_it_arrives() {
    let chain = chain_of(6);
    let peer = ScriptedPeer::honest(&chain).await;
    let client = EngineServer::start(&chain).await;
    for version in ["engine_newPayloadV3", "engine_newPayloadV4"] {
        client.order_always(version, Reaction::Result(status("SYNCING")));
    }
    let node = Home::new(&chain).start(client.engine_of(Setup::peers([peer.address()]))).await;
    let syncing = engine_is(&node, "syncing").await;
    assert_eq!(syncing.stall.unwrap().reason, StallReason::ExecutionSyncing);
    assert_eq!(syncing.imported_height, 0);
    client.called("engine_forkchoiceUpdatedV3", 20).await;
    assert_eq!(node.store().watermarks().imported, 0);
    // It has found the blocks elsewhere.
    client.acquire(3);
    client.behave();
    all_imported(&node, &chain, &client).await;
    node.assert_unblemished(peer.peer_id()).await;
    engine_is(&node, "idle").await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_block_that_is_accepted_counts_once_it_is_the_head() {
    let chain = chain_of(3);
    let client = EngineServer::start(&chain).await;
    client.acquire(1);
    client.order("engine_newPayloadV3", 1, Reaction::Result(status("ACCEPTED")));
    let node = node_with(&chain, &client).await;
    all_imported(&node, &chain, &client).await;
    assert_eq!(client.count("engine_newPayloadV3"), 3, "accepted, made the head, and not offered again");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hex_in_capitals_and_a_client_without_capabilities() {
    let chain = chain_of(5);
    let client = EngineServer::start(&chain).await;
    client.write_capitals();
    client.order_always("engine_exchangeCapabilities", Reaction::Error(-32601, "method not found"));
    let node = node_with(&chain, &client).await;
    all_imported(&node, &chain, &client).await;
    // The head is known again after a restart, written in capitals as it is.
    let home = node.stop().await;
    client.clear_calls();
    let node = home.start(client.setup()).await;
    client.called("engine_forkchoiceUpdatedV3", 2).await;
    assert_eq!((client.count("eth_getBlockByHash"), client.count("engine_newPayloadV4")), (0, 0));
    node.stop().await;
}
