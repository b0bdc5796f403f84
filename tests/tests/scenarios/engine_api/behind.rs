//! A client that is not where the watermark is, and a node that stops between the calls.

use std::sync::Arc;

use lapis_node::status::StallReason;
use lapis_storage::{PruneKind, PruneOptions};
use lapis_tests::{EngineServer, Home, Reaction, TestChain, TestNode};

use super::{all_imported, chain_of, engine_is, node_with};

const LAST: u64 = 12;

/// A node and a client that have imported everything; the node is stopped.
async fn in_step() -> (Arc<TestChain>, EngineServer, Home) {
    let chain = chain_of(LAST);
    let client = EngineServer::start(&chain).await;
    let node = node_with(&chain, &client).await;
    all_imported(&node, &chain, &client).await;
    let home = node.stop().await;
    client.clear_calls();
    (chain, client, home)
}

async fn client_is_at_the_head(node: &TestNode, client: &EngineServer) {
    let at_head = async || (client.head() == Some(LAST)).then_some(());
    node.until("the client is at the head again", at_head).await;
    engine_is(node, "idle").await;
    assert_eq!(node.store().watermarks().imported, LAST);
    assert_eq!(client.complaints(), Vec::<String>::new());
}

fn offers(client: &EngineServer) -> Vec<u64> {
    let numbers = client.calls().into_iter().filter(|call| call.method.starts_with("engine_newPayload"));
    numbers.map(|call| number(call.params[0]["blockNumber"].as_str().unwrap())).collect()
}

fn number(hex: &str) -> u64 {
    u64::from_str_radix(hex.trim_start_matches("0x"), 16).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_in_step_is_told_its_head_and_nothing_else() {
    let (_chain, client, home) = in_step().await;
    let node = home.start(client.setup()).await;
    client.called("engine_forkchoiceUpdatedV3", 1).await;
    client_is_at_the_head(&node, &client).await;
    assert_eq!(offers(&client), Vec::<u64>::new());
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_is_behind_is_given_what_it_lacks_with_progress() {
    let (_chain, client, home) = in_step().await;
    client.forget_above(5);
    client.order("engine_newPayloadV4", 1, Reaction::Silence);
    let mut setup = client.setup();
    setup.config.engine.payload_timeout = lapis_tests::PATIENCE;
    let node = home.start(setup).await;
    let status = engine_is(&node, "feeding").await;
    assert_eq!(status.engine.feeding, Some((6, LAST)));
    assert_eq!(status.stall.unwrap().reason, StallReason::ExecutionBehind);
    assert_eq!(status.imported_height, LAST);
    client.called("engine_newPayloadV4", 1).await;
    // The call that hangs ends with the node; the next one goes on.
    let home = node.stop().await;
    client.clear_calls();
    let node = home.start(client.setup()).await;
    client_is_at_the_head(&node, &client).await;
    assert_eq!(offers(&client), (6..=LAST).collect::<Vec<_>>());
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_lost_everything_is_fed_from_the_first_height_on() {
    let (_chain, client, home) = in_step().await;
    client.forget_above(0);
    let mut setup = client.setup();
    setup.config.engine.catch_up_batch = 5.try_into().unwrap();
    let node = home.start(setup).await;
    client_is_at_the_head(&node, &client).await;
    assert_eq!(offers(&client), (1..=LAST).collect::<Vec<_>>());
    let first_update = client.methods().iter().position(|method| method == "forkchoiceUpdatedV3").unwrap();
    let offered = client.methods()[..first_update].iter().filter(|method| method.starts_with("newPayload")).count();
    assert_eq!(offered, 5, "one forkchoice update for a batch");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_loses_everything_while_nothing_happens_is_noticed() {
    let (_chain, client, home) = in_step().await;
    let node = home.start(client.setup()).await;
    client_is_at_the_head(&node, &client).await;
    client.forget_above(0);
    client_is_at_the_head(&node, &client).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_is_restarted_without_its_data_is_fed() {
    let (_chain, mut client, home) = in_step().await;
    let node = home.start(client.setup()).await;
    client_is_at_the_head(&node, &client).await;
    client.stop().await;
    engine_is(&node, "unreachable").await;
    client.forget_above(0);
    client.restart().await;
    client_is_at_the_head(&node, &client).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_on_another_fork_is_fed_from_where_it_left_the_chain() {
    let (_chain, client, home) = in_step().await;
    client.fork_off_at(4);
    let node = home.start(client.setup()).await;
    client_is_at_the_head(&node, &client).await;
    assert_eq!(offers(&client), (5..=LAST).collect::<Vec<_>>());
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_tells_nothing_and_accepts_orphans_is_fed_from_further_and_further_below() {
    let (_chain, client, home) = in_step().await;
    client.forget_above(3);
    client.say_accepted();
    for method in ["eth_getBlockByNumber", "eth_getBlockByHash"] {
        client.order_always(method, Reaction::Error(-32601, "not on this port"));
    }
    let node = home.start(client.setup()).await;
    client_is_at_the_head(&node, &client).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_is_ahead_is_followed() {
    let chain = chain_of(LAST);
    let client = EngineServer::start(&chain).await;
    let node = node_with(&chain, &client).await;
    all_imported(&node, &chain, &client).await;
    node.stop().await;
    // Another node, with an empty store, takes the client over.
    client.clear_calls();
    let node = node_with(&chain, &client).await;
    all_imported(&node, &chain, &client).await;
    assert_eq!(offers(&client), Vec::<u64>::new(), "it has them, and has confirmed its head");
    assert_eq!(client.count("eth_getBlockByHash"), 0);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_with_another_genesis_is_named_as_such() {
    let (_chain, client, home) = in_step().await;
    client.change_genesis();
    let node = home.start(client.setup()).await;
    let status = engine_is(&node, "wrong_chain").await;
    assert_eq!(status.stall.unwrap().reason, StallReason::ExecutionWrongChain);
    client.acquire(0);
    client.forget_above(0);
    client_is_at_the_head(&node, &client).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_needs_pruned_heights_says_what_to_do() {
    let (_chain, client, home) = in_step().await;
    let options = PruneOptions { kind: PruneKind::BlobsAndPayloads, ..PruneOptions::default() };
    let store = home.store();
    while !store.prune_below(8, options).unwrap().done {}
    drop(store);
    client.forget_above(2);
    let node = home.start(client.setup()).await;
    let status = engine_is(&node, "lacks_history").await;
    assert_eq!(status.stall.unwrap().reason, StallReason::ExecutionLacksHistory);
    assert!(status.engine.state.contains("below 8"), "{}", status.engine.state);
    client.called("engine_forkchoiceUpdatedV3", 5).await;
    assert_eq!(offers(&client), Vec::<u64>::new());
    // It finds them elsewhere, though not all.
    client.acquire(9);
    client.order("eth_getBlockByNumber", 1, Reaction::Error(-32000, "busy"));
    client_is_at_the_head_after(&node, &client, 9).await;
    node.stop().await;
}

/// The client has got so far by itself, and its head shows it.
async fn client_is_at_the_head_after(node: &TestNode, client: &EngineServer, height: u64) {
    client.forget_above(height);
    client_is_at_the_head(node, client).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_stops_between_the_payload_and_its_own_commit_offers_it_again() {
    let chain = chain_of(LAST);
    let client = EngineServer::start(&chain).await;
    client.order_always("engine_forkchoiceUpdatedV3", Reaction::Silence);
    let node = node_with(&chain, &client).await;
    client.called("engine_forkchoiceUpdatedV3", 1).await;
    let home = node.stop().await;
    assert_eq!(home.store().watermarks().imported, 0, "nothing was confirmed");
    client.behave();
    client.clear_calls();
    let node = home.start(client.setup()).await;
    all_imported(&node, &chain, &client).await;
    assert_eq!(offers(&client), (1..=LAST).collect::<Vec<_>>());
    node.stop().await;
}
