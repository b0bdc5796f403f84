//! A node that learns of a decision before those who hold its data do.

use std::sync::Arc;

use lapis_node::{
    node::Source,
    source::{self, SourceHandle},
};
use lapis_protocol_spec::{Method, Request};
use lapis_tests::{Home, ScriptedPeer, Setup, TestChain, TestNode, assert_holds};

/// A node up to the last but one height, whose consensus engine may decide the last one without having its data.
async fn node_before_the_last(chain: &Arc<TestChain>) -> (TestNode, SourceHandle) {
    let (handle, commands) = source::channel();
    let home = Home::holding(chain, chain.up_to(chain.last() - 1));
    let node = home.start(Setup::default().source(Source::Local(commands))).await;
    node.imported(chain.last() - 1).await;
    (node, handle)
}

/// A peer that has decided all but the last height.
async fn peer_before_the_last(chain: &Arc<TestChain>, node: &TestNode) -> ScriptedPeer {
    let peer = ScriptedPeer::honest(chain).await;
    peer.reveal(chain.last() - 1);
    node.dial(peer.address()).await;
    peer
}

fn requests(peer: &ScriptedPeer, method: Method) -> Vec<Request> {
    peer.log().now().data_requests().filter(|request| request.method() == method).cloned().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn data_of_a_height_that_nobody_else_has_decided_comes_by_root() {
    let chain = Arc::new(TestChain::of_four([1, 2, 3]));
    let (node, consensus) = node_before_the_last(&chain).await;
    let holder = peer_before_the_last(&chain, &node).await;
    holder.hold_undecided(chain.last());
    let other = peer_before_the_last(&chain, &node).await;

    consensus.decide(chain.block(chain.last()).decided.clone().into()).await.unwrap();
    node.imported(chain.last()).await;
    assert_holds(node.store(), chain.blocks());

    let last = chain.block(chain.last()).value.id();
    let by_root = requests(&holder, Method::PayloadsByRoot);
    assert!(matches!(by_root.as_slice(), [Request::PayloadsByRoot(ids)] if ids.as_ref() == [*last]), "{by_root:?}");
    assert_eq!(holder.log().now().sidecars().count(), 3, "each blob once");
    for peer in [&holder, &other] {
        node.assert_unblemished(peer.peer_id()).await;
        for by_range in [Method::PayloadsByRange, Method::BlobsByRange] {
            assert_eq!(requests(peer, by_range), Vec::new(), "nobody claims the height");
        }
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_without_the_data_are_asked_a_few_times_and_serve_the_height_once_they_have_decided_it() {
    let chain = Arc::new(TestChain::of_four([1, 2]));
    let (node, consensus) = node_before_the_last(&chain).await;
    let peer = peer_before_the_last(&chain, &node).await;
    consensus.decide(chain.block(chain.last()).decided.clone().into()).await.unwrap();
    peer.log()
        .until("it is asked for the payload again and again", |log| {
            log.data_requests().filter(|request| request.method() == Method::PayloadsByRoot).count() == 5
        })
        .await;
    node.assert_unblemished(peer.peer_id()).await;
    peer.reveal(chain.last());
    peer.tell(&chain, node.peer_id()).await;
    node.imported(chain.last()).await;
    assert_holds(node.store(), chain.blocks());
    assert_eq!(requests(&peer, Method::PayloadsByRoot).len(), 5);
    node.assert_unblemished(peer.peer_id()).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_validator_serves_what_it_has_not_seen_decided() {
    let chain = Arc::new(TestChain::of_four([1, 2]));
    let (validator, consensus) = node_before_the_last(&chain).await;
    let block = chain.block(chain.last());
    let proposal = source::Proposal {
        round: 0,
        value: block.value.clone(),
        payload: block.payload.clone(),
        blobs: block.blobs.clone(),
    };
    consensus.propose(proposal).await.unwrap();
    let (node, decider) = node_before_the_last(&chain).await;
    node.dial(validator.address()).await;
    decider.decide(block.decided.clone().into()).await.unwrap();
    // By root if the validator is slow to learn of the decision, by range if it is quick: either way from it.
    for node in [&node, &validator] {
        node.imported(chain.last()).await;
        assert_holds(node.store(), chain.blocks());
    }
    node.stop().await;
    validator.stop().await;
}
