//! A node whose disk is full for a while.

use std::sync::Arc;

use lapis_node::status::{NodeStatus, StallReason};
use lapis_protocol_spec::{HeightRange, Request};
use lapis_tests::{Home, ScriptedPeer, Setup, TestChain, assert_holds, held_blobs, peer::Reply};

fn has_slow_disk(status: &NodeStatus) -> bool {
    status.stall.as_ref().is_some_and(|stall| stall.reason == StallReason::DiskSlow)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_room_says_so_serves_what_it_has_and_goes_on_when_there_is_room() {
    let chain = Arc::new(TestChain::of_four([6; 30]));
    let peer = ScriptedPeer::honest(&chain).await;
    peer.allow_sidecars(60);
    let (home, disk) = Home::on_small_disk(&chain);
    let node = home.start(Setup::peers([peer.address()])).await;
    node.until("what came is stored", async || {
        (node.store().stats().unwrap().tallies.blobs.held().count == 60).then_some(())
    })
    .await;
    let marks = node.watermarks("some heights are whole", |marks| marks.imported > 0).await;
    let held = held_blobs(node.store(), chain.blocks());

    disk.fill();
    peer.allow_sidecars(usize::MAX);
    disk.refuses(1).await;
    let status = node.status("a stall with a reason", has_slow_disk).await;
    assert!(!status.ready);
    assert!(status.available_height >= marks.available, "{status:#?}");
    // While there is no room, what is there is served.
    let asker = ScriptedPeer::honest(&chain).await;
    let asked = asker.dial(&chain, &node.address()).await;
    let replies = asker.ask(asked, &Request::BlobsByRange(HeightRange::new(1, 1))).await;
    assert_eq!(replies.iter().filter(|reply| matches!(reply, Reply::Item(_))).count(), 6, "{replies:?}");
    assert!(held.is_subset(&held_blobs(node.store(), chain.blocks())), "blobs are gone");
    // It tries again and again, and fails each time.
    disk.refuses(1).await;

    disk.free();
    node.imported(chain.last()).await;
    node.status("no stall", |status| status.stall.is_none() && status.ready).await;
    assert_holds(node.store(), chain.blocks());
    node.assert_unblemished(peer.peer_id()).await;
    let home = node.stop().await;
    assert_holds(&home.store(), chain.blocks());
}
