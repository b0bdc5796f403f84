//! Blobs of new heights from the client's pool, and from peers what the client does not give.

use std::{collections::HashSet, sync::Arc, time::Duration};

use lapis_node::status::{NodeStatus, PoolStatus};
use lapis_protocol_spec::Height;
use lapis_tests::{EngineServer, Home, PATIENCE, Reaction, ScriptedPeer, Setup, TestChain, TestNode, assert_holds};
use serde_json::json;

use super::{all_imported, chain_of};

const GET_BLOBS: &str = "engine_getBlobsV1";

/// A client, a node that knows what the client can do, and a peer that has the whole chain and knows nobody yet.
struct Network {
    chain: Arc<TestChain>,
    client: EngineServer,
    node: TestNode,
    peer: ScriptedPeer,
}

impl Network {
    /// With the blobs in the client's pool that `held` names. Calls take no more than `head_start`.
    async fn new(held: impl Fn(Height, u64) -> bool, head_start: Duration) -> Self {
        let chain = chain_of(8);
        let client = EngineServer::start(&chain).await;
        client.hold_blobs(held);
        let node = Home::new(&chain).start(setup(&client, head_start)).await;
        node.status("the pool is known", |status| status.sync.pool.is_asked).await;
        let peer = ScriptedPeer::honest(&chain).await;
        Self { chain, client, node, peer }
    }

    /// Lets the node catch up. Nobody is charged, and everything is there. Which blobs the peer sent, and what the pool did
    /// once that `is_told`.
    async fn catch_up(self, is_told: impl Fn(&PoolStatus) -> bool) -> (HashSet<(Height, u64)>, PoolStatus) {
        let Self { chain, client, node, peer } = self;
        node.dial(peer.address()).await;
        all_imported(&node, &chain, &client).await;
        node.assert_unblemished(peer.peer_id()).await;
        let told = |status: &NodeStatus| is_told(&status.sync.pool);
        let pool = node.status("what the pool did is told", told).await.sync.pool;
        assert_holds(node.store(), chain.blocks());
        let sent = peer.log().now().sidecars().collect();
        node.stop().await;
        (sent, pool)
    }
}

fn setup(client: &EngineServer, head_start: Duration) -> Setup {
    let mut setup = client.setup();
    setup.config.engine.get_blobs_head_start = head_start;
    setup.config.engine.call_timeout = PATIENCE;
    setup
}

fn all_blobs(chain: &TestChain) -> HashSet<(Height, u64)> {
    chain.blocks().iter().flat_map(|block| &block.blobs).map(|blob| (blob.height, blob.index)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_client_has_is_not_downloaded() {
    let network = Network::new(|_, _| true, PATIENCE).await;
    let count = network.chain.blob_count() as u64;
    let (sent, pool) = network.catch_up(|pool| pool.blobs >= count).await;
    assert_eq!(sent, HashSet::new());
    assert_eq!((pool.blobs, pool.misses, pool.failures, pool.faults), (count, 0, 0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_client_lacks_is_downloaded_and_nothing_else() {
    let held = |height: Height, index: u64| height >= 5 && index == 0;
    let network = Network::new(held, PATIENCE).await;
    let mut lacking = all_blobs(&network.chain);
    lacking.retain(|(height, index)| !held(*height, *index));
    let misses = lacking.len() as u64;
    let (sent, pool) = network.catch_up(|pool| pool.misses >= misses).await;
    assert_eq!(sent, lacking);
    assert_eq!((pool.misses, pool.failures, pool.faults), (misses, 0, 0));
}

/// Nothing comes from a client that reacts so to the call; everything comes from the peer.
async fn is_of_no_use(reaction: Reaction, head_start: Duration) {
    let network = Network::new(|_, _| true, head_start).await;
    let all = all_blobs(&network.chain);
    network.client.order_always(GET_BLOBS, reaction.clone());
    let (sent, pool) = network.catch_up(|pool| pool.failures > 0).await;
    assert_eq!(sent, all, "{reaction:?}");
    assert_eq!(pool.blobs, 0, "{reaction:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_hangs_is_not_waited_for() {
    is_of_no_use(Reaction::Silence, Duration::from_millis(100)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_fails_or_does_not_know_the_method_after_all() {
    is_of_no_use(Reaction::Error(-32601, "the method does not exist"), PATIENCE).await;
    is_of_no_use(Reaction::Error(-38004, "too large request"), PATIENCE).await;
    is_of_no_use(Reaction::Http(500, "panic at somewhere"), PATIENCE).await;
    is_of_no_use(Reaction::Cut, PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_answers_nonsense() {
    is_of_no_use(Reaction::Result("blobs".into()), PATIENCE).await;
    is_of_no_use(Reaction::Result(json!([{ "blob": "0x00", "proof": "0x00" }])), PATIENCE).await;
    is_of_no_use(Reaction::Http(200, "<html>hello</html>"), PATIENCE).await;
    is_of_no_use(Reaction::Endless, PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn null_for_all_and_too_short_an_answer_are_no_failures() {
    for answer in [json!(null), json!([])] {
        let network = Network::new(|_, _| true, PATIENCE).await;
        let all = all_blobs(&network.chain);
        network.client.order_always(GET_BLOBS, Reaction::Result(answer));
        let misses = all.len() as u64;
        let (sent, pool) = network.catch_up(|pool| pool.misses >= misses).await;
        assert_eq!(sent, all);
        assert_eq!((pool.misses, pool.failures), (misses, 0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn false_blobs_are_found_out_and_come_from_a_peer_that_is_not_charged() {
    let network = Network::new(|_, _| true, PATIENCE).await;
    network.client.spoil_blobs();
    let all = all_blobs(&network.chain);
    let (sent, _) = network.catch_up(|pool| pool.blobs > 0 && pool.faults == pool.blobs).await;
    assert_eq!(sent, all);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_is_not_asked_if_it_does_not_announce_the_method_or_the_operator_does_not_want_it() {
    for is_wanted in [true, false] {
        let chain = chain_of(4);
        let client = EngineServer::start(&chain).await;
        let mut setup = setup(&client, PATIENCE);
        if !is_wanted {
            client.hold_blobs(|_, _| true);
            setup.config.engine.get_blobs = false;
        }
        let node = Home::new(&chain).start(setup).await;
        client.called("eth_getBlockByNumber", 1).await;
        let peer = ScriptedPeer::honest(&chain).await;
        node.dial(peer.address()).await;
        all_imported(&node, &chain, &client).await;
        assert_eq!(client.count(GET_BLOBS), 0);
        assert_eq!(peer.log().now().sidecars().count(), chain.blob_count());
        node.stop().await;
    }
}
