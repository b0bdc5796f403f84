//! A peer that is late with what holds up the order: somebody else is asked, over real streams.
//!
//! No time-out helps here: all of them are an hour long.

use std::{fs::File, io::BufReader, sync::Arc, time::Duration};

use lapis_node::sync::trace::replay;
use lapis_protocol_spec::Request;
use lapis_tests::{Home, ScriptedPeer, Setup, TestChain, assert_holds, peer::Log};
use libp2p::Multiaddr;

/// Longer than any test.
const NEVER: Duration = Duration::from_secs(3600);

fn chain() -> Arc<TestChain> {
    Arc::new(TestChain::of_four([2, 6, 9, 0, 6, 3]))
}

fn patient(peers: impl IntoIterator<Item = Multiaddr>) -> Setup {
    let mut setup = Setup::peers(peers).first_chunk_timeout(NEVER);
    setup.config.sync.progress_timeout = NEVER;
    setup.config.limits.minimum_rate_grace = NEVER;
    setup
}

fn asks_for_blobs(log: &Log) -> bool {
    log.data_requests().any(|request| matches!(request, Request::BlobsByRoot(_) | Request::BlobsByRange(_)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_peer_that_holds_up_the_order_is_outrun_and_not_blamed() {
    let chain = chain();
    let (slow, quick) = (ScriptedPeer::honest(&chain).await, ScriptedPeer::honest(&chain).await);
    slow.allow_sidecars(3);
    let node = Home::new(&chain).start(patient([slow.address()])).await;
    slow.has_sent_all_it_may().await;
    assert!(node.handle().feed.current().available < chain.last());

    node.dial(quick.address()).await;
    node.imported(chain.last()).await;
    assert_holds(node.store(), chain.blocks());
    let (begun, won) = node.handle().metrics.sync.hedges();
    assert!(begun > 0 && won > 0, "{begun} second requests, {won} of them faster");
    for peer in [&slow, &quick] {
        node.assert_unblemished(peer.peer_id()).await;
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_both_answer_each_blob_is_taken_once_and_nobody_is_blamed() {
    // One height, which the first peer is asked for as a whole.
    let chain = Arc::new(TestChain::of_four([4]));
    let (first, second) = (ScriptedPeer::honest(&chain).await, ScriptedPeer::honest(&chain).await);
    first.allow_sidecars(1);
    second.allow_sidecars(0);
    let node = Home::new(&chain).start(patient([first.address()])).await;
    first.has_sent_all_it_may().await;
    node.dial(second.address()).await;
    second.log().until("the second peer is asked as well", asks_for_blobs).await;

    let all = chain.blob_count();
    first.allow_more_sidecars(10 * all);
    second.allow_more_sidecars(10 * all);
    node.imported(chain.last()).await;
    assert_holds(node.store(), chain.blocks());
    assert!(node.handle().metrics.sync.hedges().0 > 0);
    for peer in [&first, &second] {
        node.assert_unblemished(peer.peer_id()).await;
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_node_recorded_is_decided_again() {
    let chain = chain();
    let (slow, quick) = (ScriptedPeer::honest(&chain).await, ScriptedPeer::honest(&chain).await);
    slow.allow_sidecars(3);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("trace");
    let mut setup = patient([slow.address()]);
    setup.config.sync.record_trace = Some(path.clone());
    let node = Home::new(&chain).start(setup).await;
    slow.has_sent_all_it_may().await;
    node.dial(quick.address()).await;
    node.imported(chain.last()).await;
    node.stop().await;

    let replayed = replay(BufReader::new(File::open(&path).unwrap())).unwrap();
    assert!(!replayed.is_cut_off, "a node that is stopped writes whole lines");
    assert!(replayed.inputs > 20 && replayed.decisions > 5, "{replayed:?}");
}
