//! Nodes that find each other, and what they know of peers after a restart.

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use lapis_p2p::PeerState;
use lapis_tests::{Home, Setup, TestChain, TestNode, assert_holds};
use libp2p::{Multiaddr, PeerId};

static CHAIN: LazyLock<Arc<TestChain>> = LazyLock::new(|| Arc::new(TestChain::of_four([1, 0, 2])));

/// Looks for `target` peers, beginning with `boot`.
fn seeking(target: u32, boot: impl IntoIterator<Item = Multiaddr>) -> Setup {
    let mut setup = Setup::default();
    setup.config.network.target_peers = target;
    setup.config.network.boot_nodes = boot.into_iter().collect();
    setup
}

async fn ready(node: &TestNode, peer: PeerId) {
    node.knows("a peer of the chain", peer, |info| info.state == PeerState::Ready && info.agent.is_some()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_knows_a_boot_node_finds_who_has_the_chain_and_finds_it_again_without() {
    let chain = Arc::clone(&CHAIN);
    let boot = Home::new(&chain).start(Setup::default()).await;
    let holder = Home::holding(&chain, chain.blocks()).start(Setup::peers([boot.address()])).await;
    ready(&boot, holder.peer_id()).await;
    let node = Home::new(&chain).start(seeking(3, [boot.address()])).await;
    ready(&node, holder.peer_id()).await;
    node.imported(chain.last()).await;
    assert_holds(node.store(), chain.blocks());
    node.assert_unblemished(holder.peer_id()).await;
    let home = node.stop().await;
    boot.stop().await;
    let again = home.start(seeking(3, [])).await;
    ready(&again, holder.peer_id()).await;
    again.stop().await;
    holder.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ban_survives_a_restart_and_ends() {
    let chain = Arc::clone(&CHAIN);
    let banned = Home::new(&chain).start(Setup::default()).await;
    let node = Home::new(&chain).start(Setup::default()).await;
    let peer = banned.peer_id();
    node.dial(banned.address()).await;
    ready(&node, peer).await;
    node.handle().network.ban(peer, Duration::from_secs(3600)).await.unwrap();
    let home = node.stop().await;

    let node = home.start(Setup::default()).await;
    let info = node.peer(peer).await.expect("a ban is remembered");
    assert!(info.banned_for.is_some_and(|left| left > Duration::from_secs(3000)), "{info:?}");
    assert!(node.handle().network.dial(banned.address()).await.is_err(), "nor is it dialed");
    // One that is nearly over, and is over some time after the next start.
    node.handle().network.ban(peer, Duration::from_secs(2)).await.unwrap();
    let home = node.stop().await;

    let node = home.start(Setup::default()).await;
    let over = async || node.peer(peer).await.is_none_or(|info| info.banned_for.is_none()).then_some(());
    node.until("the ban is over", over).await;
    node.dial(banned.address()).await;
    ready(&node, peer).await;
    node.stop().await;
    banned.stop().await;
}
