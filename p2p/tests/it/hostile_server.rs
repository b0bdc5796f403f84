//! Servers that answer as no server should.

use std::{num::NonZeroU32, time::Duration};

use futures::{AsyncWriteExt, StreamExt};
use lapis_p2p::{Config, Exchange, ExchangeError, Fault, Offence, Stall};
use lapis_protocol_spec::{BlobSidecar, GoodbyeReason, Method, Status, encode, framing::ErrorCode};
use libp2p::Stream;

use crate::{
    harness::{Node, TCP, all, blobs, genesis, within},
    raw::{Raw, chunk, error_chunk, read_request, send},
};

fn sidecar() -> Vec<u8> {
    chunk(Method::BlobsByRange, &encode(&BlobSidecar::default()))
}

async fn connected(change: impl FnOnce(&mut Config)) -> (Node, Raw) {
    let mut raw = Raw::start(None).await;
    raw.answer_statuses(genesis());
    let mut node = Node::with(TCP, genesis(), change).await;
    within(node.handle.dial(raw.address.clone())).await.unwrap();
    assert_eq!(node.ready().await.0, raw.id);
    (node, raw)
}

/// Asks for blobs, and hands over the server's end of the stream when the request has come.
async fn ask(node: &Node, raw: &mut Raw, method: Method) -> (Exchange, Stream) {
    let mut streams = raw.accept(method);
    let request = match method {
        Method::Ping => lapis_protocol_spec::Request::Ping(1),
        _ => blobs(1, 2),
    };
    let exchange = node.request(raw.id, request).await;
    let (_, mut stream) = within(streams.next()).await.unwrap();
    read_request(&mut stream, method).await.unwrap();
    (exchange, stream)
}

/// Plays `bytes`, ends the stream in order, and returns what the client makes of it.
async fn play(node: &Node, raw: &mut Raw, method: Method, bytes: &[u8]) -> Result<usize, ExchangeError> {
    let (mut exchange, mut stream) = ask(node, raw, method).await;
    let writing = async {
        // The client may give up before everything is written.
        let _ = stream.write_all(bytes).await;
        let _ = stream.close().await;
    };
    let (result, ()) = tokio::join!(all(&mut exchange), writing);
    result.map(|items| items.len())
}

#[tokio::test]
async fn framing_faults_are_the_peers() {
    let (node, mut raw) = connected(|_| {}).await;
    let method = Method::BlobsByRange;
    let good = sidecar();
    let mut corrupt = good.clone();
    let last = corrupt.len() - 1;
    corrupt[last] ^= 1;
    let oversize = [0, 0xff, 0xff, 0xff, 0xff, 0x7f];
    let not_minimal = [0, 0x80, 0x00];
    for (bytes, offence) in [
        (corrupt, Offence::Malformed),
        (oversize.to_vec(), Offence::Oversized),
        (not_minimal.to_vec(), Offence::Malformed),
    ] {
        let error = play(&node, &mut raw, method, &bytes).await.unwrap_err();
        assert_eq!(error.fault(), Fault::Peer(offence), "{error}");
    }
}

#[tokio::test]
async fn nothing_is_read_after_an_error_chunk() {
    let (node, mut raw) = connected(|_| {}).await;
    let bytes = [error_chunk(3, "no"), sidecar()].concat();
    let (mut exchange, mut stream) = ask(&node, &mut raw, Method::BlobsByRange).await;
    let _ = stream.write_all(&bytes).await;
    let error = within(exchange.next()).await.unwrap_err();
    assert!(matches!(error, ExchangeError::Refused { code: ErrorCode::ResourceUnavailable, .. }), "{error}");
    assert!(within(exchange.next()).await.unwrap().is_none(), "the exchange has ended");
}

#[tokio::test]
async fn an_item_that_does_not_decode_is_the_peers_fault() {
    let (node, mut raw) = connected(|_| {}).await;
    let nonsense = chunk(Method::DecidedValuesByRange, &[0xff; 400]);
    let mut streams = raw.accept(Method::DecidedValuesByRange);
    let range = lapis_protocol_spec::HeightRange::new(1, 1);
    let mut exchange = node.request(raw.id, lapis_protocol_spec::Request::DecidedValuesByRange(range)).await;
    let (_, mut stream) = within(streams.next()).await.unwrap();
    stream.write_all(&nonsense).await.unwrap();
    stream.close().await.unwrap();
    let error = within(exchange.next()).await.unwrap_err();
    assert!(matches!(error, ExchangeError::Decode(_)), "{error}");
    assert_eq!(error.fault(), Fault::Peer(Offence::Malformed));
}

#[tokio::test]
async fn more_chunks_than_asked_end_the_exchange() {
    let (node, mut raw) = connected(|_| {}).await;
    let pong = chunk(Method::Ping, &encode(&1_u64));
    let (mut exchange, mut stream) = ask(&node, &mut raw, Method::Ping).await;
    // Endless: more is always on its way.
    let endless = tokio::spawn(async move { while stream.write_all(&pong).await.is_ok() {} });
    within(exchange.next()).await.unwrap().unwrap();
    let error = within(exchange.next()).await.unwrap_err();
    assert!(matches!(error, ExchangeError::TooManyChunks(1)), "{error}");
    assert_eq!(error.fault(), Fault::Peer(Offence::TooManyChunks));
    within(endless).await.unwrap();
}

#[tokio::test]
async fn an_error_after_the_last_item_is_read_wherever_it_is_split() {
    let (node, mut raw) = connected(|_| {}).await;
    let (pong, error) = (chunk(Method::Ping, &encode(&1_u64)), error_chunk(2, "no"));
    let zero = error.iter().position(|byte| *byte == 0).unwrap();
    let (first, second) = error.split_at(zero);
    let (mut exchange, mut stream) = ask(&node, &mut raw, Method::Ping).await;
    stream.write_all(&[&pong[..], first].concat()).await.unwrap();
    stream.flush().await.unwrap();
    within(exchange.next()).await.unwrap().unwrap();
    stream.write_all(second).await.unwrap();
    stream.flush().await.unwrap();
    let error = within(exchange.next()).await.unwrap_err();
    assert!(matches!(error, ExchangeError::Refused { code: ErrorCode::ServerError, .. }), "{error}");
}

#[tokio::test]
async fn an_exchange_ends_when_this_side_leaves_the_peer() {
    let hour = Duration::from_secs(3600);
    let (node, mut raw) = connected(|config| config.timeouts.first_byte = hour).await;
    let (mut exchange, _unanswered) = ask(&node, &mut raw, Method::BlobsByRange).await;
    within(node.handle.disconnect(raw.id, GoodbyeReason::TooManyPeers)).await.unwrap();
    let error = within(exchange.next()).await.unwrap_err();
    assert!(matches!(error, ExchangeError::Reset(_)), "{error}");
}

#[tokio::test]
async fn a_node_stops_though_a_peer_does_not_take_its_status() {
    let mut raw = Raw::start(None).await;
    let mut statuses = raw.accept(Method::Status);
    let mut node = Node::with(TCP, genesis(), |config| {
        config.timeouts.first_byte = Duration::from_secs(3600);
        config.timeouts.goodbye = Duration::from_millis(100);
    })
    .await;
    within(node.handle.dial(raw.address.clone())).await.unwrap();
    let (_, mut first) = within(statuses.next()).await.unwrap();
    read_request(&mut first, Method::Status).await.unwrap();
    let status = Status { genesis_id: genesis(), ..Status::default() };
    send(&mut first, &chunk(Method::Status, &encode(&status))).await;
    node.ready().await;
    node.handle.set_status(Status { decided_height: 1, ..Status::default() });
    let _unanswered = within(statuses.next()).await.unwrap();
    node.stop().await.unwrap();
}

#[tokio::test]
async fn an_end_within_a_chunk_is_truncated() {
    let (node, mut raw) = connected(|_| {}).await;
    let good = sidecar();
    for cut in [1, 2, 20, good.len() - 1] {
        let error = play(&node, &mut raw, Method::BlobsByRange, &good[..cut]).await.unwrap_err();
        assert!(matches!(error, ExchangeError::Truncated(_)), "{cut}: {error}");
        assert_eq!(error.fault(), Fault::Unclear(Offence::Truncated));
    }
    assert_eq!(play(&node, &mut raw, Method::BlobsByRange, &good).await.unwrap(), 1, "short is not wrong");
    assert_eq!(play(&node, &mut raw, Method::BlobsByRange, &[]).await.unwrap(), 0);
}

#[tokio::test]
async fn a_connection_lost_between_two_chunks_is_not_the_end() {
    let (node, mut raw) = connected(|_| {}).await;
    let (mut exchange, mut stream) = ask(&node, &mut raw, Method::BlobsByRange).await;
    stream.write_all(&sidecar()).await.unwrap();
    stream.flush().await.unwrap();
    within(exchange.next()).await.unwrap().unwrap();
    drop(raw);
    let error = within(exchange.next()).await.unwrap_err();
    assert!(matches!(error, ExchangeError::Reset(_)), "{error}");
    assert_eq!(error.fault(), Fault::Unclear(Offence::Reset));
}

#[tokio::test]
async fn error_chunks_of_every_code() {
    let (node, mut raw) = connected(|_| {}).await;
    for (code, fault) in [
        (1, Fault::Unavailable),
        (2, Fault::Unavailable),
        (3, Fault::Unavailable),
        (139, Fault::Busy),
        (4, Fault::Unavailable),
        (255, Fault::Unavailable),
    ] {
        let bytes = error_chunk(code, "why \u{1b}[31mnot");
        let error = play(&node, &mut raw, Method::BlobsByRange, &bytes).await.unwrap_err();
        assert_eq!(error.fault(), fault, "code {code}");
        let ExchangeError::Refused { code: found, message } = error else { panic!("{error}") };
        assert_eq!(Some(found), ErrorCode::from_byte(code));
        assert_eq!(message, "why  [31mnot", "made safe for terminals");
    }
}

#[tokio::test]
async fn silence_is_cut_before_the_first_byte() {
    let (node, mut raw) = connected(|config| config.timeouts.first_byte = Duration::from_millis(50)).await;
    let (mut exchange, stream) = ask(&node, &mut raw, Method::BlobsByRange).await;
    let error = within(exchange.next()).await.unwrap_err();
    assert!(matches!(error, ExchangeError::Timeout(Stall::FirstByte(_))), "{error}");
    assert_eq!(error.fault(), Fault::Unclear(Offence::Timeout));
    drop(stream);
}

#[tokio::test]
async fn silence_is_cut_between_chunks_and_within_one() {
    let (node, mut raw) = connected(|config| config.timeouts.idle = Duration::from_millis(50)).await;
    let good = sidecar();
    for bytes in [good.clone(), [&good[..], &good[..100]].concat()] {
        let (mut exchange, mut stream) = ask(&node, &mut raw, Method::BlobsByRange).await;
        stream.write_all(&bytes).await.unwrap();
        stream.flush().await.unwrap();
        within(exchange.next()).await.unwrap().unwrap();
        let error = within(exchange.next()).await.unwrap_err();
        assert!(matches!(error, ExchangeError::Timeout(Stall::Idle(_))), "{error}");
    }
}

#[tokio::test]
async fn a_drip_is_cut_at_the_minimum_rate() {
    let (node, mut raw) = connected(|config| {
        config.timeouts.grace = Duration::from_millis(100);
        config.timeouts.minimum_rate = NonZeroU32::MAX;
    })
    .await;
    let (mut exchange, mut stream) = ask(&node, &mut raw, Method::BlobsByRange).await;
    let drip = tokio::spawn(async move {
        for byte in sidecar() {
            if stream.write_all(&[byte]).await.is_err() || stream.flush().await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    let error = within(exchange.next()).await.unwrap_err();
    assert!(matches!(error, ExchangeError::Timeout(Stall::TooSlow(_))), "{error}");
    drip.abort();
}

#[tokio::test]
async fn a_protocol_that_the_peer_does_not_speak_is_nobodys_fault() {
    let (node, raw) = connected(|_| {}).await;
    let error = within(node.handle.request(raw.id, blobs(1, 1))).await.unwrap_err();
    assert_eq!(error.fault(), Fault::Unavailable, "{error}");
}
