//! Nodes that are behind: by a height, by a long chain, by a huge height, by one blob.

use std::sync::{Arc, LazyLock};

use lapis_node::{
    config::{ByteSize, EngineKind, Pacing},
    devnet::spec::DevnetParams,
    status::{NodeStatus, StallReason},
};
use lapis_protocol_spec::{BlobSidecar, HeightRange, Request};
use lapis_tests::{Home, ScriptedPeer, Setup, TestChain, assert_holds, peer::Reply};

/// Nine heights of all sorts.
static SHORT: LazyLock<Arc<TestChain>> = LazyLock::new(|| Arc::new(TestChain::of_four([0, 1, 6, 9, 0, 2, 3, 6, 1])));

fn stalled(status: &NodeStatus, reason: StallReason) -> bool {
    status.stall.as_ref().is_some_and(|stall| stall.reason == reason)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_behind_by_one_height_fetches_that_height_and_nothing_else() {
    let chain = Arc::clone(&SHORT);
    let last = chain.last();
    let peer = ScriptedPeer::honest(&chain).await;
    let node = Home::holding(&chain, chain.up_to(last - 1)).start(Setup::peers([peer.address()])).await;
    node.imported(last).await;
    assert_holds(node.store(), chain.blocks());

    let only = HeightRange::new(last, 1);
    let mut requests: Vec<_> = peer.log().now().data_requests().cloned().collect();
    requests.sort_by_key(|request| request.method());
    let expected = [Request::DecidedValuesByRange(only), Request::PayloadsByRange(only), Request::BlobsByRange(only)];
    assert_eq!(requests, expected);
    node.assert_unblemished(peer.peer_id()).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_node_joins_a_long_chain() {
    let counts = [0, 1, 6, 9].into_iter().cycle().take(150);
    let chain = Arc::new(TestChain::of_four(counts));
    let first = Home::holding(&chain, chain.blocks()).start(Setup::default()).await;
    let second = Home::holding(&chain, chain.blocks()).start(Setup::default()).await;
    first.imported(chain.last()).await;
    second.imported(chain.last()).await;

    let node = Home::new(&chain).start(Setup::peers([first.address(), second.address()])).await;
    node.imported(chain.last()).await;
    assert_holds(node.store(), chain.blocks());
    for peer in [&first, &second] {
        node.assert_unblemished(peer.peer_id()).await;
        peer.assert_unblemished(node.peer_id()).await;
        let from = node.peer(peer.peer_id()).await.unwrap().bytes_in;
        assert!(from > BlobSidecar::BYTES as u64, "both peers are made use of, this one sent {from} bytes");
    }
    // Nothing was fetched twice: what came in is the data and what goes with it.
    let verified = node.handle().metrics.pipeline.verified_blobs();
    assert_eq!(verified, chain.blob_count() as u64);
    node.stop().await;
    first.stop().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_height_of_1024_blobs() {
    let chain = Arc::new(TestChain::of_four([1024]));
    let peer = Home::holding(&chain, chain.blocks()).start(Setup::default()).await;
    peer.imported(1).await;
    let node = Home::new(&chain).start(Setup::peers([peer.address()])).await;
    node.imported(1).await;
    assert_holds(node.store(), chain.blocks());
    node.assert_unblemished(peer.peer_id()).await;
    node.stop().await;
    peer.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_single_missing_blob_is_fetched_alone_by_its_versioned_hash() {
    let chain = Arc::clone(&SHORT);
    // Height 3 has six blobs; the one at index 2 was missed.
    let missed = &chain.block(3).blobs[2];
    let home = Home::holding_except(&chain, chain.blocks(), |height, index| (height, index) == (3, 2));
    let peer = ScriptedPeer::honest(&chain).await;
    let node = home.start(Setup::peers([peer.address()])).await;
    node.imported(chain.last()).await;
    assert_holds(node.store(), chain.blocks());

    let log = peer.log().now();
    assert_eq!(log.sidecars().collect::<Vec<_>>(), [(3, 2)]);
    let hashes = vec![missed.versioned_hash()].try_into().unwrap();
    assert_eq!(log.data_requests().collect::<Vec<_>>(), [&Request::BlobsByRoot(hashes)]);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blob_that_nobody_has_is_waited_for_and_named_and_costs_nobody_anything() {
    let chain = Arc::clone(&SHORT);
    let missing = |height, index| (height, index) == (4, 8);
    let lacking = Home::holding_except(&chain, chain.blocks(), missing).start(Setup::default()).await;
    lacking.imported(3).await;
    let node = Home::new(&chain).start(Setup::peers([lacking.address()])).await;
    node.imported(3).await;
    let stalled = |reason| {
        move |status: &lapis_node::status::NodeStatus| status.stall.as_ref().is_some_and(|stall| stall.reason == reason)
    };
    node.status("a stall with a reason", stalled(StallReason::NoPeerHasData)).await;
    node.assert_unblemished(lacking.peer_id()).await;

    let whole = ScriptedPeer::honest(&chain).await;
    node.dial(whole.address()).await;
    node.imported(chain.last()).await;
    assert_holds(node.store(), chain.blocks());
    node.stop().await;
    lacking.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_synced_node_that_restarts_asks_for_nothing_again() {
    let chain = Arc::clone(&SHORT);
    let peer = ScriptedPeer::honest(&chain).await;
    peer.reveal(5);
    let node = Home::new(&chain).start(Setup::peers([peer.address()])).await;
    node.imported(5).await;
    let home = node.stop().await;
    let before = peer.log().now();

    peer.reveal(chain.last());
    let node = home.start(Setup::peers([peer.address()])).await;
    node.imported(chain.last()).await;
    assert_holds(node.store(), chain.blocks());
    let after = peer.log().now();
    let again: Vec<_> = after.sent[before.sent.len()..].iter().filter(|sent| before.sent.contains(sent)).collect();
    assert!(again.is_empty(), "sent twice: {again:?}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_height_larger_than_the_memory_cap_comes_through_within_the_cap() {
    let chain = Arc::new(TestChain::of_four([256]));
    let cap = ByteSize::mib(1);
    let peer = ScriptedPeer::honest(&chain).await;
    let mut setup = Setup::peers([peer.address()]);
    setup.config.sync.max_buffered_bytes = cap;
    let node = Home::new(&chain).start(setup).await;
    node.imported(1).await;
    assert_holds(node.store(), chain.blocks());

    let most = usize::try_from(cap.as_u64()).unwrap() / BlobSidecar::BYTES;
    let log = peer.log().now();
    let mut asked = 0;
    for request in log.data_requests() {
        match request {
            Request::BlobsByRoot(hashes) => {
                assert!(hashes.len() <= most, "{} blobs asked for, {most} fit", hashes.len());
                asked += hashes.len();
            }
            Request::BlobsByRange(_) => panic!("the whole height does not fit"),
            _ => {}
        }
    }
    assert_eq!(asked, 256, "each blob is asked for once");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_peers_says_so_and_goes_on_when_one_comes() {
    let chain = Arc::clone(&SHORT);
    let peer = ScriptedPeer::honest(&chain).await;
    let home = Home::new(&chain);
    // Values alone: there is work, and nobody to do it with.
    home.store().mark_decided(&chain.blocks().iter().map(|block| block.decided.clone()).collect::<Vec<_>>()).unwrap();
    let node = home.start(Setup::default()).await;
    node.status("a stall with a reason", |status| stalled(status, StallReason::NoPeers)).await;
    node.dial(peer.address()).await;
    node.imported(chain.last()).await;
    assert_holds(node.store(), chain.blocks());
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_is_lost_in_the_middle_is_replaced_and_what_it_gave_is_kept() {
    let chain = Arc::new(TestChain::of_four([8; 6]));
    let lost = ScriptedPeer::honest(&chain).await;
    lost.allow_sidecars(13);
    let node = Home::new(&chain).start(Setup::peers([lost.address()])).await;
    lost.log().until("13 blobs", |log| log.sidecars().count() == 13).await;
    // The rest of an answer is on its way when it goes, and the first 13 blobs are stored.
    node.until("what came is stored", async || {
        (node.store().stats().unwrap().tallies.blobs.held().count == 13).then_some(())
    })
    .await;
    drop(lost);
    let other = ScriptedPeer::honest(&chain).await;
    node.dial(other.address()).await;
    node.imported(chain.last()).await;
    assert_holds(node.store(), chain.blocks());
    assert_eq!(other.log().now().sidecars().count(), chain.blob_count() - 13, "what was missing and no more");
    node.assert_unblemished(other.peer_id()).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_quic() {
    let chain = Arc::clone(&SHORT);
    let peer = Home::holding(&chain, chain.blocks()).start(Setup::default().quic()).await;
    peer.imported(chain.last()).await;
    assert!(peer.address().to_string().contains("quic-v1"), "{}", peer.address());
    let node = Home::new(&chain).start(Setup::peers([peer.address()]).quic()).await;
    node.imported(chain.last()).await;
    assert_holds(node.store(), chain.blocks());
    node.assert_unblemished(peer.peer_id()).await;
    node.stop().await;
    peer.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_cancun_to_prague() {
    let genesis = DevnetParams::new(4);
    let params = DevnetParams { prague_time: genesis.genesis_time + 3, ..genesis };
    let chain = Arc::new(TestChain::new(&params, [1, 2, 0, 2, 1]));
    let peer = Home::holding(&chain, chain.blocks()).start(Setup::default()).await;
    let node = Home::new(&chain).start(Setup::peers([peer.address()])).await;
    node.imported(chain.last()).await;
    assert_holds(node.store(), chain.blocks());
    node.stop().await;
    peer.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_importer_holds_sync_back() {
    let chain = Arc::new(TestChain::of_four([1; 20]));
    let ahead = 2;
    let peer = ScriptedPeer::honest(&chain).await;
    let mut setup = Setup::peers([peer.address()]);
    setup.config.sync.max_heights_ahead = ahead.try_into().unwrap();
    let node = Home::new(&chain).start(setup).await;
    // The predicate is called with every watermark that is seen.
    node.watermarks("import of all", |marks| {
        assert!(marks.available <= marks.imported + ahead, "{marks:?}");
        marks.imported == chain.last()
    })
    .await;
    assert_holds(node.store(), chain.blocks());
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_request_at_a_time_with_fixed_pacing() {
    let chain = Arc::clone(&SHORT);
    let peer = ScriptedPeer::honest(&chain).await;
    let mut setup = Setup::peers([peer.address()]);
    setup.config.sync.pacing = Pacing::Fixed;
    let node = Home::new(&chain).start(setup).await;
    node.imported(chain.last()).await;
    assert_holds(node.store(), chain.blocks());
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_data_node_without_an_engine_holds_and_serves_everything() {
    let chain = Arc::clone(&SHORT);
    let peer = ScriptedPeer::honest(&chain).await;
    let mut setup = Setup::peers([peer.address()]);
    setup.config.engine.kind = EngineKind::None;
    let node = Home::new(&chain).start(setup).await;
    node.watermarks("all data", |marks| marks.available == chain.last()).await;
    assert_holds(node.store(), chain.blocks());
    let next = Home::new(&chain).start(Setup::peers([node.address()])).await;
    next.imported(chain.last()).await;
    assert_holds(next.store(), chain.blocks());
    next.stop().await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blob_whose_row_is_damaged_is_never_served_and_fetched_again() {
    let chain = Arc::clone(&SHORT);
    let damaged = &chain.block(4).blobs[5];
    let home = Home::holding(&chain, chain.blocks()).start(Setup::default()).await;
    home.imported(chain.last()).await;
    let home = home.stop().await;
    home.damage(damaged);

    let node = home.start(Setup::default()).await;
    let peer = ScriptedPeer::honest(&chain).await;
    // It has nothing to offer until the damage has been met.
    peer.reveal(0);
    let server = peer.dial(&chain, &node.address()).await;
    let ask = async || peer.ask(server, &Request::BlobsByRange(HeightRange::new(4, 1))).await;
    let replies = ask().await;
    assert_eq!(replies.iter().filter(|reply| matches!(reply, Reply::Item(_))).count(), 5, "what is before it");
    assert!(matches!(replies.last(), Some(Reply::Error(2, _))), "{:?}", replies.last());

    let healthy = ScriptedPeer::honest(&chain).await;
    node.dial(healthy.address()).await;
    node.until("the blob is there again", async || {
        let replies = ask().await;
        replies.iter().all(|reply| matches!(reply, Reply::Item(_))).then_some(replies).filter(|all| all.len() == 9)
    })
    .await;
    assert_eq!(healthy.log().now().sidecars().collect::<Vec<_>>(), [(4, 5)], "it and nothing else");
    assert_holds(node.store(), chain.blocks());
    node.stop().await;
}
