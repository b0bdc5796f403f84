//! What a whole node answers to requests of all sorts, seen by a client that was written a second time.

use std::sync::{Arc, LazyLock};

use lapis_protocol_spec::{Bytes32, HeightRange, Item, Method, Request, encode};
use lapis_tests::{Home, ScriptedPeer, Setup, TestChain, TestNode, peer::Reply, wire};
use libp2p::PeerId;

static CHAIN: LazyLock<Arc<TestChain>> = LazyLock::new(|| Arc::new(TestChain::of_four([2, 0, 3, 1])));

/// A node that holds the chain except blob 1 of height 3, and a client that is connected to it.
async fn node_and_client(chain: &Arc<TestChain>) -> (TestNode, ScriptedPeer, PeerId) {
    let home = Home::holding_except(chain, chain.blocks(), |height, index| (height, index) == (3, 1));
    let node = home.start(Setup::default()).await;
    let client = ScriptedPeer::honest(chain).await;
    // It does not say that it has what the node lacks: the node is to stay as it is.
    client.reveal(2);
    let server = client.dial(chain, &node.address()).await;
    (node, client, server)
}

fn items(chain: &TestChain, places: &[(u64, usize)]) -> Vec<Reply> {
    let item = |(height, index): &(u64, usize)| Reply::Item(Item::Blob((*chain.block(*height).blobs[*index]).clone()));
    places.iter().map(item).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ranges_end_where_the_data_does_and_half_a_height_is_never_served() {
    let chain = Arc::clone(&CHAIN);
    let (node, client, server) = node_and_client(&chain).await;
    let blobs = async |start, count| client.ask(server, &Request::BlobsByRange(HeightRange::new(start, count))).await;
    assert_eq!(blobs(1, 4).await, items(&chain, &[(1, 0), (1, 1)]));
    assert_eq!(blobs(3, 1).await, []);
    assert_eq!(blobs(4, 1_000_000).await, items(&chain, &[(4, 0)]));
    assert_eq!(blobs(5, 1).await, []);
    let values = client.ask(server, &Request::DecidedValuesByRange(HeightRange::new(2, u64::MAX - 2))).await;
    let expected =
        chain.blocks()[1..].iter().map(|block| Reply::Item(Item::DecidedValue(Box::new((*block.decided).clone()))));
    assert_eq!(values, expected.collect::<Vec<_>>());
    node.assert_unblemished(client.peer_id()).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_hashes_are_left_out_and_a_hash_asked_twice_is_answered_once() {
    let chain = Arc::clone(&CHAIN);
    let (node, client, server) = node_and_client(&chain).await;
    let hash = |height, index: usize| chain.block(height).blobs[index].versioned_hash();
    let unknown = Bytes32::from([1; 32]);
    let hashes = vec![hash(3, 2), unknown, hash(1, 0), hash(3, 1), hash(3, 2)];
    let replies = client.ask(server, &Request::BlobsByRoot(hashes.try_into().unwrap())).await;
    assert_eq!(replies, items(&chain, &[(3, 2), (1, 0)]));
    let ids = vec![*chain.block(2).value.id(), unknown];
    let replies = client.ask(server, &Request::PayloadsByRoot(ids.try_into().unwrap())).await;
    assert_eq!(replies, [Reply::Item(Item::Payload((*chain.block(2).payload).clone()))]);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_make_no_sense_are_refused_with_a_reason() {
    let chain = Arc::clone(&CHAIN);
    let (node, client, server) = node_and_client(&chain).await;
    for range in [HeightRange::new(1, 0), HeightRange::new(0, 5), HeightRange::new(u64::MAX, 2)] {
        let replies = client.ask(server, &Request::PayloadsByRange(range)).await;
        assert!(matches!(replies.as_slice(), [Reply::Error(1, text)] if !text.is_empty()), "{range:?}: {replies:?}");
    }
    node.knows("the client is charged", client.peer_id(), |info| info.score < 0.0).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_with_bytes_after_it_is_refused() {
    let chain = Arc::clone(&CHAIN);
    let (node, client, server) = node_and_client(&chain).await;
    let mut bytes = wire::prefixed(&encode(&HeightRange::new(1, 1)));
    bytes.push(0);
    let replies = client.ask_raw(server, Method::BlobsByRange, &bytes).await;
    assert!(matches!(replies.as_slice(), [Reply::Error(1, _)]), "{replies:?}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hashes_that_are_not_a_multiple_of_32_bytes_are_refused() {
    let chain = Arc::clone(&CHAIN);
    let (node, client, server) = node_and_client(&chain).await;
    let replies = client.ask_raw(server, Method::BlobsByRoot, &wire::prefixed(&[5; 33])).await;
    assert!(matches!(replies.as_slice(), [Reply::Error(1, _)]), "{replies:?}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_hashes_than_allowed_are_refused() {
    let chain = Arc::clone(&CHAIN);
    let (node, client, server) = node_and_client(&chain).await;
    let hashes = vec![9; 32 * (lapis_protocol_spec::MAX_REQUEST_HASHES + 1)];
    let replies = client.ask_raw(server, Method::BlobsByRoot, &wire::prefixed(&hashes)).await;
    assert!(matches!(replies.as_slice(), [Reply::Error(1, _)]), "{replies:?}");
    node.stop().await;
}
