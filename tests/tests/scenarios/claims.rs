//! Peers that lie about themselves.

use std::sync::{Arc, LazyLock};

use lapis_tests::{Fault, Home, ScriptedPeer, Setup, TestChain, assert_holds, peer::fault::ClaimFault};

static CHAIN: LazyLock<Arc<TestChain>> = LazyLock::new(|| Arc::new(TestChain::of_four([1, 2, 0, 3, 1, 0])));

/// The liar is there first, and stays; the others come later.
async fn a_liar_does_not_keep_the_node_from_honest_peers(fault: ClaimFault) {
    let chain = Arc::clone(&CHAIN);
    let liar = ScriptedPeer::with(&chain, Fault::Claim(fault)).await;
    let node = Home::new(&chain).start(Setup::peers([liar.address()])).await;
    liar.log().misbehaved().await;
    let first = ScriptedPeer::honest(&chain).await;
    let second = ScriptedPeer::honest(&chain).await;
    node.dial(first.address()).await;
    node.dial(second.address()).await;
    node.imported(chain.last()).await;
    assert_holds(node.store(), chain.blocks());
    // What two of three claim is the target, whatever the third says.
    node.status("a target that is true", |status| status.target_height == chain.last()).await;
    node.assert_unblemished(first.peer_id()).await;
    node.assert_unblemished(second.peer_id()).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_height_of_2_to_the_64_that_is_not_served() {
    a_liar_does_not_keep_the_node_from_honest_peers(ClaimFault::LyingHeightAndNothingServed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_height_of_2_to_the_64_from_a_peer_that_serves_what_there_is() {
    a_liar_does_not_keep_the_node_from_honest_peers(ClaimFault::LyingHeight).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_of_another_chain_is_left_at_once_and_never_asked() {
    let chain = Arc::clone(&CHAIN);
    let stranger = ScriptedPeer::with(&chain, Fault::Claim(ClaimFault::OtherGenesis)).await;
    let honest = ScriptedPeer::honest(&chain).await;
    let node = Home::new(&chain).start(Setup::peers([stranger.address(), honest.address()])).await;
    node.imported(chain.last()).await;
    let is_goodbye = |log: &lapis_tests::peer::Log| {
        log.asked.iter().any(|asked| {
            asked.request == lapis_protocol_spec::Request::Goodbye(lapis_protocol_spec::GoodbyeReason::WrongNetwork)
        })
    };
    let log = stranger.log().until("a goodbye that says why", is_goodbye).await;
    assert_eq!(log.data_requests().count(), 0);
    node.assert_unblemished(honest.peer_id()).await;
    node.stop().await;
}
