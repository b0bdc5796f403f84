//! Rate limits of whole nodes, as they are configured.

use std::sync::{Arc, LazyLock};

use lapis_node::config::ByteSize;
use lapis_tests::{Home, Setup, TestChain, assert_holds};

/// Eighteen blobs: more than two MiB.
static CHAIN: LazyLock<Arc<TestChain>> = LazyLock::new(|| Arc::new(TestChain::of_four([6, 0, 6, 1, 5])));

/// The server's bucket holds a quarter of what is asked for, so most of it is withheld for a while.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_syncs_from_a_peer_that_withholds_and_neither_is_blamed() {
    let chain = Arc::clone(&CHAIN);
    let mut setup = Setup::default();
    setup.config.limits.serve_bytes_per_peer = ByteSize::kib(512);
    setup.config.limits.serve_bytes_total = ByteSize::kib(512);
    setup.config.limits.serve_requests_per_peer = 2.try_into().unwrap();
    setup.config.limits.minimum_rate = ByteSize::mib(1);
    let server = Home::holding(&chain, chain.blocks()).start(setup).await;
    server.imported(chain.last()).await;
    let node = Home::new(&chain).start(Setup::peers([server.address()])).await;
    node.imported(chain.last()).await;
    assert_holds(node.store(), chain.blocks());
    node.assert_unblemished(server.peer_id()).await;
    server.assert_unblemished(node.peer_id()).await;
    node.stop().await;
    server.stop().await;
}

/// One blob at a time, from whomever it asks: reading pauses, nobody is blamed for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_takes_little_at_a_time_blames_nobody() {
    let chain = Arc::clone(&CHAIN);
    let server = Home::holding(&chain, chain.blocks()).start(Setup::default()).await;
    let mut setup = Setup::peers([server.address()]);
    setup.config.limits.fetch_bytes_per_peer = ByteSize::kib(512);
    setup.config.limits.fetch_bytes_total = ByteSize::kib(512);
    setup.config.limits.fetch_requests_per_peer = 5.try_into().unwrap();
    let node = Home::new(&chain).start(setup).await;
    node.imported(chain.last()).await;
    assert_holds(node.store(), chain.blocks());
    node.assert_unblemished(server.peer_id()).await;
    server.assert_unblemished(node.peer_id()).await;
    node.stop().await;
    server.stop().await;
}
