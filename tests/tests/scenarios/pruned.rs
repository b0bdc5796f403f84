//! Nodes that have given up old blobs: what they serve, and how others sync from them.

use std::sync::{Arc, LazyLock};

use lapis_node::{
    config::{BelowFloor, BlobRetention},
    devnet::spec::DevnetParams,
    status::StallReason,
};
use lapis_protocol_spec::{Height, HeightRange, Item, Request};
use lapis_tests::{Home, ScriptedPeer, Setup, TestChain, TestNode, assert_holds, held_blobs, peer::Reply};

/// Every node keeps blobs for 4 heights.
const RETENTION: u64 = 4;
/// So the floor is here at the last height, 12.
const FLOOR: Height = 9;

static CHAIN: LazyLock<Arc<TestChain>> = LazyLock::new(|| {
    let params = DevnetParams { blob_retention_heights: RETENTION, ..DevnetParams::new(4) };
    Arc::new(TestChain::new(&params, [2, 1, 0, 3, 1, 2, 1, 1, 2, 0, 3, 1]))
});

/// A node that held everything, and has pruned what it may.
async fn pruned_node(chain: &Arc<TestChain>) -> TestNode {
    let node = Home::holding(chain, chain.blocks()).start(Setup::default()).await;
    let pruned = |marks: &lapis_storage::Watermarks| marks.earliest_blob == FLOOR && marks.pruned == FLOOR - 1;
    node.watermarks("pruning up to the floor", pruned).await;
    node
}

/// Heights and indices of the sidecars in `replies`, all of which are items.
fn places(replies: &[Reply]) -> Vec<(Height, u64)> {
    let place = |reply: &Reply| match reply {
        Reply::Item(Item::Blob(sidecar)) => (sidecar.height, sidecar.index),
        other => panic!("not a blob: {other:?}"),
    };
    replies.iter().map(place).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ranges_below_across_and_above_the_floor() {
    let chain = Arc::clone(&CHAIN);
    let node = pruned_node(&chain).await;
    let client = ScriptedPeer::honest(&chain).await;
    let server = client.dial(&chain, &node.address()).await;
    for range in [HeightRange::new(1, 3), HeightRange::new(1, 100), HeightRange::new(FLOOR - 1, 2)] {
        let replies = client.ask(server, &Request::BlobsByRange(range)).await;
        let [Reply::Error(3, text)] = replies.as_slice() else { panic!("{range:?}: {replies:?}") };
        assert!(text.contains(&FLOOR.to_string()), "the floor is not in {text:?}");
    }
    let above: Vec<_> = chain.blocks()[8..].iter().flat_map(|block| &block.blobs).collect();
    let replies = client.ask(server, &Request::BlobsByRange(HeightRange::new(FLOOR, 100))).await;
    assert_eq!(places(&replies), above.iter().map(|blob| (blob.height, blob.index)).collect::<Vec<_>>());
    for (reply, blob) in replies.iter().zip(&above) {
        assert!(*reply == Reply::Item(Item::Blob((***blob).clone())), "not the certified blob");
    }

    // Payloads and values are not pruned, and by root what is not held is left out.
    let all = HeightRange::new(1, 100);
    assert_eq!(client.ask(server, &Request::PayloadsByRange(all)).await.len(), 12);
    assert_eq!(client.ask(server, &Request::DecidedValuesByRange(all)).await.len(), 12);
    let hashes = [&chain.block(1).blobs[0], &chain.block(FLOOR).blobs[1]].map(|blob| blob.versioned_hash());
    let replies = client.ask(server, &Request::BlobsByRoot(hashes.to_vec().try_into().unwrap())).await;
    assert_eq!(places(&replies), [(FLOOR, 1)]);
    node.assert_unblemished(client.peer_id()).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_may_do_without_old_blobs_syncs_from_pruned_peers() {
    let chain = Arc::clone(&CHAIN);
    let peer = pruned_node(&chain).await;
    let mut setup = Setup::peers([peer.address()]);
    setup.config.retention.below_floor = BelowFloor::WithoutBlobs;
    let node = Home::new(&chain).start(setup).await;
    node.imported(chain.last()).await;
    let held = held_blobs(node.store(), chain.blocks());
    let expected = chain.blocks()[8..].iter().flat_map(|block| &block.blobs).map(|blob| (blob.height, blob.index));
    assert_eq!(held, expected.collect());
    node.assert_unblemished(peer.peer_id()).await;
    node.stop().await;
    peer.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_wants_all_blobs_waits_for_an_archive_and_says_so() {
    let chain = Arc::clone(&CHAIN);
    let peer = pruned_node(&chain).await;
    let mut setup = Setup::peers([peer.address()]);
    setup.config.retention.blob_heights = BlobRetention::All;
    let node = Home::new(&chain).start(setup).await;
    let status = node
        .status("a stall with a reason", |status| {
            status.stall.as_ref().is_some_and(|stall| stall.reason == StallReason::NoPeerHasData)
        })
        .await;
    assert_eq!((status.decided_height, status.imported_height), (chain.last(), 0));
    node.assert_unblemished(peer.peer_id()).await;

    let archive = ScriptedPeer::honest(&chain).await;
    node.dial(archive.address()).await;
    node.imported(chain.last()).await;
    assert_holds(node.store(), chain.blocks());
    node.stop().await;
    peer.stop().await;
}
