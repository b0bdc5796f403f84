//! Clients that ask as no client should.

use std::{num::NonZeroU32, time::Duration};

use futures::{AsyncReadExt, AsyncWriteExt};
use lapis_p2p::{Config, Offence};
use lapis_protocol_spec::{
    Bytes32, HeightRange, Method, encode,
    framing::{ErrorCode, ResponseChunk},
};
use libp2p::Stream;

use crate::{
    harness::{Node, TCP, eventually, genesis, within},
    raw::{Raw, answer, read_all, request, send},
};

async fn connected(change: impl FnOnce(&mut Config)) -> (Node, Raw) {
    let mut node = Node::with(TCP, genesis(), change).await;
    let mut raw = Raw::start(Some(node.address())).await;
    raw.shake_hands(node.id()).await;
    assert_eq!(node.ready().await.0, raw.id);
    (node, raw)
}

fn many_blobs(start: u64) -> Vec<u8> {
    request(Method::BlobsByRange, &encode(&HeightRange::new(start, 128)))
}

fn code(chunks: &[ResponseChunk]) -> ErrorCode {
    match chunks {
        [ResponseChunk::Error { code, .. }] => *code,
        other => panic!("{} chunks", other.len()),
    }
}

#[tokio::test]
async fn garbage_and_oversized_requests_are_answered_and_charged() {
    let (node, mut raw) = connected(|config| {
        config.scores.disconnect_at = -1e6;
        config.scores.ban_at = -1e6;
    })
    .await;
    let good = request(Method::Ping, &encode(&1_u64));
    let cases = [
        (Method::Ping, [&good[..], &[0]].concat(), Offence::Malformed),
        (Method::BlobsByRoot, vec![0xff, 0xff, 0xff, 0xff, 0x7f], Offence::Oversized),
        (Method::BlobsByRoot, request(Method::BlobsByRoot, &[7; 33]), Offence::InvalidRequest),
        (Method::Ping, good[..good.len() - 1].to_vec(), Offence::Truncated),
    ];
    for (method, bytes, offence) in cases {
        let mut stream = raw.open(node.id(), method).await;
        send(&mut stream, &bytes).await;
        assert_eq!(code(&answer(&mut stream, method).await), ErrorCode::InvalidRequest, "{offence:?}");
        node.info_when(raw.id, |info| info.last_fault.is_some_and(|fault| fault.offence == offence)).await;
    }
}

#[tokio::test]
async fn half_close_that_never_comes_is_cut() {
    let (node, mut raw) = connected(|config| config.timeouts.request = Duration::from_millis(200)).await;
    let mut stream = raw.open(node.id(), Method::Ping).await;
    stream.write_all(&request(Method::Ping, &encode(&1_u64))).await.unwrap();
    stream.flush().await.unwrap();
    assert_eq!(code(&answer(&mut stream, Method::Ping).await), ErrorCode::InvalidRequest);
    node.info_when(raw.id, |info| info.last_fault.is_some_and(|fault| fault.offence == Offence::Timeout)).await;
}

async fn ask_for_many(raw: &mut Raw, node: &Node, start: u64) -> Stream {
    let mut stream = raw.open(node.id(), Method::BlobsByRange).await;
    send(&mut stream, &many_blobs(start)).await;
    stream
}

#[tokio::test]
async fn a_third_stream_is_rate_limited_and_the_end_of_another_makes_room() {
    let (node, mut raw) = connected(|config| config.timeouts.overlap = Duration::from_millis(100)).await;
    // Neither is read, so neither ends.
    let mut held: Vec<Stream> = Vec::new();
    for start in [1000, 2000] {
        let mut stream = ask_for_many(&mut raw, &node, start).await;
        within(stream.read_exact(&mut [0; 64])).await.unwrap();
        held.push(stream);
    }
    let mut third = ask_for_many(&mut raw, &node, 3000).await;
    assert_eq!(code(&answer(&mut third, Method::BlobsByRange).await), ErrorCode::RateLimited);
    assert_eq!(node.provider.calls(3000), 0);
    let fault = node.info_when(raw.id, |info| info.last_fault.is_some()).await.last_fault.unwrap();
    assert_eq!(fault.offence, Offence::TooManyStreams);
    // Another protocol has permits of its own.
    let mut other = raw.open(node.id(), Method::ValidatorSetByRoot).await;
    send(&mut other, &request(Method::ValidatorSetByRoot, Bytes32::ZERO.as_slice())).await;
    assert!(answer(&mut other, Method::ValidatorSetByRoot).await.is_empty());
    assert!(!read_all(&mut held.remove(0)).await.is_empty());
    node.metric(r#"lapis_p2p_exchanges_in_flight{protocol="blobs_by_range",side="server"} 1"#).await;
    let mut fourth = ask_for_many(&mut raw, &node, 4000).await;
    assert_eq!(answer(&mut fourth, Method::BlobsByRange).await.len(), 128);
}

#[tokio::test]
async fn a_reader_that_does_not_read_is_cut_and_charged() {
    let (node, mut raw) = connected(|config| {
        config.timeouts.grace = Duration::from_millis(100);
        config.timeouts.minimum_rate = NonZeroU32::MAX;
    })
    .await;
    let stream = ask_for_many(&mut raw, &node, 1).await;
    node.info_when(raw.id, |info| info.last_fault.is_some_and(|fault| fault.offence == Offence::SlowReader)).await;
    node.metric(r#"lapis_p2p_exchanges_in_flight{protocol="blobs_by_range",side="server"} 0"#).await;
    drop(stream);
}

/// Its time is up after a twentieth of a second, however often it reads something.
#[tokio::test]
async fn a_reader_of_one_byte_at_a_time_pins_one_item_and_is_cut_and_never_banned() {
    let (node, mut raw) = connected(|config| {
        config.timeouts.grace = Duration::from_millis(50);
        config.timeouts.minimum_rate = NonZeroU32::MAX;
    })
    .await;
    for cut in 1..=3 {
        let start = 1000 * cut;
        let mut stream = ask_for_many(&mut raw, &node, start).await;
        within(async {
            // The other end is gone when what the connection had in its buffers is read.
            while node.provider.alive() == 1 || node.provider.calls(start) == 0 {
                assert!(node.provider.alive() <= 1);
                let _ = stream.read(&mut [0]).await;
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
        assert!(node.provider.calls(start) <= 8, "{} items for a reader of some bytes", node.provider.calls(start));
        node.metric(&format!(
            r#"lapis_p2p_exchanges_total{{protocol="blobs_by_range",side="server",outcome="slow_reader"}} {cut}"#
        ))
        .await;
    }
    let info = node.info_when(raw.id, |info| info.last_fault.is_some()).await;
    assert_eq!(info.last_fault.unwrap().offence, Offence::SlowReader);
    assert!(info.banned_for.is_none());
}

#[tokio::test]
async fn a_disconnect_frees_everything_that_was_served() {
    let (node, mut raw) = connected(|_| {}).await;
    let mut held = Vec::new();
    for start in [1000, 2000] {
        held.push(ask_for_many(&mut raw, &node, start).await);
    }
    node.metric(r#"lapis_p2p_exchanges_in_flight{protocol="blobs_by_range",side="server"} 2"#).await;
    drop(raw);
    node.metric(r#"lapis_p2p_exchanges_in_flight{protocol="blobs_by_range",side="server"} 0"#).await;
}

#[tokio::test]
async fn a_burst_of_streams_is_answered_whole() {
    let (node, mut raw) = connected(|_| {}).await;
    let mut streams = Vec::new();
    for method in [Method::ValidatorSetByRoot, Method::BlobsByRoot, Method::PayloadsByRoot] {
        for _ in 0..2 {
            streams.push((raw.open(node.id(), method).await, method));
        }
    }
    for (stream, method) in &mut streams {
        send(stream, &request(*method, Bytes32::ZERO.as_slice())).await;
    }
    for (stream, method) in &mut streams {
        let expected = usize::from(*method != Method::ValidatorSetByRoot);
        assert_eq!(answer(stream, *method).await.len(), expected, "{}", method.name());
    }
    assert!(node.info(raw.id).await.unwrap().last_fault.is_none());
}

#[tokio::test]
async fn offences_again_and_again_end_in_a_ban() {
    let (mut node, mut raw) = connected(|_| {}).await;
    let mut goodbyes = raw.accept(Method::Goodbye);
    for _ in 0..2 {
        // The second one may meet a connection that is closing.
        let Ok(mut stream) = within(raw.control.open_stream(node.id(), crate::raw::protocol(Method::Ping))).await
        else {
            break;
        };
        let _ = stream.write_all(&[0x80, 0x00]).await;
        let _ = stream.close().await;
    }
    let told = within(futures::StreamExt::next(&mut goodbyes)).await;
    assert!(told.is_some());
    drop(told);
    node.gone().await;
    eventually(|| async { node.info(raw.id).await.filter(|info| info.score <= -50.0) }).await;
}
