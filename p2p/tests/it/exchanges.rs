//! Exchanges between two nodes.

use std::time::Duration;

use futures::FutureExt;
use lapis_p2p::{ExchangeError, Fault, GoneReason, RequestError};
use lapis_protocol_spec::{Bytes32, GoodbyeReason, HeightRange, Item, Request, framing::ErrorCode};
use libp2p::PeerId;

use crate::{
    harness::{MEMORY, Node, QUIC, TCP, all, blobs, connect, genesis, pair, within},
    provider::{DISK_ERROR_AFTER_ONE, NOT_HELD, PANIC, blob, decided},
};

async fn data_methods(asker: &Node, peer: PeerId) {
    let range = HeightRange::new(10, 3);
    let values = all(&mut asker.request(peer, Request::DecidedValuesByRange(range)).await).await.unwrap();
    let expected: Vec<_> = (10..13).map(|height| Item::DecidedValue(Box::new(decided(height)))).collect();
    assert_eq!(values, expected);
    let payloads = all(&mut asker.request(peer, Request::PayloadsByRange(range)).await).await.unwrap();
    let heights = |items: &[Item]| -> Vec<u64> {
        let height = |item: &Item| match item {
            Item::Payload(payload) => payload.height,
            Item::Blob(sidecar) => {
                assert!(sidecar.blob.as_ref() == blob(sidecar.height), "another blob");
                sidecar.height
            }
            other => panic!("{other:?}"),
        };
        items.iter().map(height).collect()
    };
    assert_eq!(heights(&payloads), [10, 11, 12]);
    let sidecars = all(&mut asker.request(peer, blobs(10, 40)).await).await.unwrap();
    assert_eq!(heights(&sidecars), (10..50).collect::<Vec<_>>());
    let ids = || vec![Bytes32::ZERO; 2].try_into().unwrap();
    let by_root = all(&mut asker.request(peer, Request::PayloadsByRoot(ids())).await).await.unwrap();
    assert_eq!(heights(&by_root), [1, 2]);
    let hashes = vec![Bytes32::ZERO; 2].try_into().unwrap();
    let by_root = all(&mut asker.request(peer, Request::BlobsByRoot(hashes)).await).await.unwrap();
    assert_eq!(heights(&by_root), [1, 2]);
    let root = Bytes32::from([1; 32]);
    let sets = all(&mut asker.request(peer, Request::ValidatorSetByRoot(root)).await).await.unwrap();
    assert!(matches!(sets[..], [Item::ValidatorSet(_)]));
    let none = all(&mut asker.request(peer, Request::ValidatorSetByRoot(Bytes32::ZERO)).await).await.unwrap();
    assert!(none.is_empty(), "no chunk at all is an empty response");
}

async fn own_methods(asker: &Node, peer: PeerId) {
    let status = lapis_protocol_spec::Status { genesis_id: genesis(), ..Default::default() };
    let statuses = all(&mut asker.request(peer, Request::Status(status)).await).await.unwrap();
    assert_eq!(statuses, [Item::Status(status)]);
    let pongs = all(&mut asker.request(peer, Request::Ping(77)).await).await.unwrap();
    assert_eq!(pongs, [Item::Pong(0)], "the responder's own number: its status never changed");
}

async fn all_nine_methods(listen: &str) {
    let (mut a, mut b) = pair(listen).await;
    for (asker, peer) in [(&a, b.id()), (&b, a.id())] {
        data_methods(asker, peer).await;
        own_methods(asker, peer).await;
    }
    let goodbye = Request::Goodbye(GoodbyeReason::Other(99));
    let mut exchange = a.request(b.id(), goodbye).await;
    // The responder may close the connection before its empty response is read.
    let _ = within(exchange.next()).await;
    assert_eq!(b.gone().await, (a.id(), GoneReason::Goodbye(GoodbyeReason::Other(99))));
    assert_eq!(a.gone().await.0, b.id());
}

#[tokio::test]
async fn all_nine_methods_both_ways_over_tcp() {
    all_nine_methods(TCP).await;
}

#[tokio::test]
async fn all_nine_methods_both_ways_over_quic() {
    all_nine_methods(QUIC).await;
}

#[tokio::test]
async fn all_nine_methods_both_ways_in_memory() {
    all_nine_methods(MEMORY).await;
}

/// While one response is not read, others go through, and of the first no more is produced than fits the stream's
/// window.
async fn unread_response_holds_the_server_back(listen: &str, most: usize) {
    let (a, b) = pair(listen).await;
    let mut unread = a.request(b.id(), blobs(1, 128)).await;
    assert!(matches!(within(unread.next()).await, Ok(Some(Item::Blob(_)))));
    for start in [1000, 2000, 3000] {
        let others = all(&mut a.request(b.id(), blobs(start, 128)).await).await.unwrap();
        assert_eq!(others.len(), 128);
    }
    let produced = b.provider.calls(1);
    assert!(produced <= most, "{produced} items were produced for a reader of one");
    assert_eq!(all(&mut unread).await.unwrap().len(), 127);
    assert_eq!(b.provider.calls(1), 128);
}

#[tokio::test]
async fn unread_response_holds_the_server_back_over_tcp() {
    // 4 MiB, which the window has as soon as a part of it was read, and what the server has queued.
    unread_response_holds_the_server_back(TCP, 36).await;
}

#[tokio::test]
async fn unread_response_holds_the_server_back_over_quic() {
    unread_response_holds_the_server_back(QUIC, 40).await;
}

#[tokio::test]
async fn a_response_error_says_code_message_and_that_it_is_nobodys_fault() {
    let (a, b) = pair(MEMORY).await;
    let mut exchange = a.request(b.id(), blobs(NOT_HELD, 1)).await;
    let error = within(exchange.next()).await.unwrap_err();
    assert_eq!(error.fault(), Fault::Unavailable);
    let ExchangeError::Refused { code, message } = error else { panic!("{error}") };
    assert_eq!((code, message.as_str()), (ErrorCode::ResourceUnavailable, "earliest height is 500"));
    assert!(within(exchange.next()).await.unwrap().is_none(), "ended");

    let mut exchange = a.request(b.id(), blobs(DISK_ERROR_AFTER_ONE, 3)).await;
    assert!(matches!(within(exchange.next()).await, Ok(Some(Item::Blob(_)))), "what came before is good");
    let error = within(exchange.next()).await.unwrap_err();
    assert!(matches!(error, ExchangeError::Refused { code: ErrorCode::ServerError, .. }), "{error}");
    assert_eq!(a.info(b.id()).await.unwrap().score, 0.0);
}

#[tokio::test]
async fn illegal_ranges_are_answered_invalid_request() {
    let (a, b) = pair(MEMORY).await;
    for (start, count) in [(1, 0), (0, 1), (u64::MAX, 2), (2, u64::MAX)] {
        let error =
            within(a.request(b.id(), Request::DecidedValuesByRange(HeightRange::new(start, count))).await.next())
                .await
                .unwrap_err();
        assert!(
            matches!(error, ExchangeError::Refused { code: ErrorCode::InvalidRequest, .. }),
            "({start}, {count}): {error}"
        );
    }
    b.info_when(a.id(), |info| info.score <= -39.0).await;
}

/// Permits that are all back let two exchanges be open at a time again.
async fn two_are_free(a: &Node, peer: PeerId) {
    let (mut first, mut second) = (a.request(peer, blobs(1, 1)).await, a.request(peer, blobs(1, 1)).await);
    assert_eq!(all(&mut first).await.unwrap().len(), 1);
    assert_eq!(all(&mut second).await.unwrap().len(), 1);
}

#[tokio::test]
async fn every_way_out_frees_the_permits_over_tcp() {
    every_way_out_frees_the_permits(TCP).await;
}

#[tokio::test]
async fn every_way_out_frees_the_permits_over_quic() {
    every_way_out_frees_the_permits(QUIC).await;
}

/// Readers may take an hour (see the harness), so what the server frees it frees because it was told.
async fn every_way_out_frees_the_permits(listen: &str) {
    let mut a = Node::with(listen, genesis(), |config| config.timeouts.permit = Duration::from_millis(100)).await;
    let mut b = Node::with(listen, genesis(), |config| {
        config.timeouts.overlap = Duration::from_secs(60);
    })
    .await;
    connect(&mut a, &mut b).await;
    let peer = b.id();

    let (first, second) = (a.request(peer, blobs(1, 128)).await, a.request(peer, blobs(1, 128)).await);
    let third = within(a.handle.request(peer, blobs(1, 1))).await.unwrap_err();
    assert!(matches!(third, RequestError::NoPermit { .. }), "{third}");
    assert_eq!(third.fault(), Fault::Busy);
    drop((first, second));
    two_are_free(&a, peer).await;

    for _ in 0..10 {
        let mut refused = a.request(peer, blobs(NOT_HELD, 1)).await;
        within(refused.next()).await.unwrap_err();
        // The exchange is still there, its permit is not.
        two_are_free(&a, peer).await;
    }
    for _ in 0..10 {
        // Dropped before, while and after it is sent.
        drop(a.handle.request(peer, blobs(1, 128)).now_or_never());
        tokio::task::yield_now().await;
    }
    two_are_free(&a, peer).await;
    let unknown = PeerId::random();
    for _ in 0..5 {
        let error = within(a.handle.request(unknown, blobs(1, 1))).await.unwrap_err();
        assert!(matches!(error, RequestError::NotConnected(_)), "{error}");
    }
    // The server's side of everything that was dropped is free, too.
    b.metric(r#"lapis_p2p_exchanges_in_flight{protocol="blobs_by_range",side="server"} 0"#).await;
    a.metric(r#"lapis_p2p_exchanges_in_flight{protocol="blobs_by_range",side="client"} 0"#).await;
    assert!(b.info(a.id()).await.unwrap().last_fault.is_none(), "giving up is no offence");
}

#[tokio::test]
async fn a_lost_connection_ends_exchanges_on_both_sides() {
    let (mut a, b) = pair(TCP).await;
    let mut exchange = a.request(b.id(), blobs(1, 128)).await;
    within(exchange.next()).await.unwrap();
    within(a.handle.disconnect(b.id(), GoodbyeReason::Other(5))).await.unwrap();
    a.gone().await;
    let error = all(&mut exchange).await.unwrap_err();
    assert!(matches!(error, ExchangeError::Reset(_) | ExchangeError::Truncated(_)), "{error}");
    b.metric(r#"lapis_p2p_exchanges_in_flight{protocol="blobs_by_range",side="server"} 0"#).await;
}

#[tokio::test]
async fn dropped_calls_of_next_lose_nothing() {
    let (a, b) = pair(TCP).await;
    let mut exchange = a.request(b.id(), blobs(1, 64)).await;
    let mut heights = Vec::new();
    within(async {
        loop {
            match exchange.next().now_or_never() {
                Some(Ok(Some(Item::Blob(sidecar)))) => heights.push(sidecar.height),
                Some(Ok(None)) => return,
                Some(other) => panic!("{other:?}"),
                None => tokio::task::yield_now().await,
            }
        }
    })
    .await;
    assert_eq!(heights, (1..65).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_provider_that_panics_stops_the_service_and_says_so() {
    let (a, b) = pair(MEMORY).await;
    let mut exchange = a.request(b.id(), blobs(PANIC, 1)).await;
    assert!(within(exchange.next()).await.is_err());
    let error = within(b.running).await.unwrap().unwrap_err();
    assert!(error.to_string().contains("panicked"), "{error}");
}
