//! Statuses, news of them, and goodbyes.

use std::time::Duration;

use futures::StreamExt;
use lapis_p2p::{Event, GoneReason, Offence, PeerState};
use lapis_protocol_spec::{Bytes32, GoodbyeReason, Method, Status, decode};

use crate::{
    harness::{MEMORY, Node, QUIC, TCP, connect, eventually, genesis, pair, within},
    raw::{Raw, read_request},
};

fn other_chain() -> Bytes32 {
    Bytes32::from([8; 32])
}

async fn next_goodbye(streams: &mut libp2p_stream::IncomingStreams) -> GoodbyeReason {
    let (_, mut stream) = within(streams.next()).await.unwrap();
    let body = read_request(&mut stream, Method::Goodbye).await.unwrap();
    decode::<u64>(&body).unwrap().into()
}

#[tokio::test]
async fn both_sides_know_the_others_status_when_ready() {
    let (mut a, mut b) = (Node::start(MEMORY).await, Node::start(MEMORY).await);
    a.handle.set_status(Status { decided_height: 5, ..Status::default() });
    b.handle.set_status(Status { decided_height: 9, ..Status::default() });
    within(a.handle.dial(b.address())).await.unwrap();
    assert_eq!(a.ready().await, (b.id(), Status { genesis_id: genesis(), decided_height: 9, ..Status::default() }));
    assert_eq!(b.ready().await, (a.id(), Status { genesis_id: genesis(), decided_height: 5, ..Status::default() }));
    let info = a.info_when(b.id(), |info| info.agent.is_some() && info.round_trip.is_some()).await;
    assert_eq!(info.state, PeerState::Ready);
    assert!(info.agent.unwrap().starts_with("lapis/"));
    assert!(info.protocols.iter().any(|name| name == Method::BlobsByRange.protocol_id()));
    assert!(info.bytes_in > 0 && info.bytes_out > 0);
    assert_eq!(a.handle.connected_count(), 1);
}

#[tokio::test]
async fn nodes_that_dial_each_other_at_once_are_ready_once() {
    let (mut a, mut b) = (Node::start(TCP).await, Node::start(TCP).await);
    let (to_b, to_a) = tokio::join!(a.handle.dial(b.address()), b.handle.dial(a.address()));
    assert!(to_b.is_ok() || to_a.is_ok());
    assert_eq!(a.ready().await.0, b.id());
    assert_eq!(b.ready().await.0, a.id());
    assert_eq!(a.handle.connected_count(), 1);
    assert_eq!(within(a.handle.peers()).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_server_of_another_chain_is_told_goodbye_wrong_network() {
    let mut raw = Raw::start(None).await;
    raw.answer_statuses(other_chain());
    let mut goodbyes = raw.accept(Method::Goodbye);
    let node = Node::start(TCP).await;
    within(node.handle.dial(raw.address.clone())).await.unwrap();
    assert_eq!(next_goodbye(&mut goodbyes).await, GoodbyeReason::WrongNetwork);
    eventually(|| async { node.info(raw.id).await.is_none().then_some(()) }).await;
}

#[tokio::test]
async fn nodes_of_two_chains_part_and_neither_is_ever_ready() {
    let a = Node::start(QUIC).await;
    let b = Node::with(QUIC, other_chain(), |_| {}).await;
    within(a.handle.dial(b.address())).await.unwrap();
    for (node, peer) in [(&a, b.id()), (&b, a.id())] {
        eventually(|| async { node.info(peer).await.is_none().then_some(()) }).await;
        assert_eq!(node.handle.connected_count(), 0);
    }
    let (mut a, b_id) = (a, b.id());
    a.stop_events(b_id).await;
}

impl Node {
    /// Stops, and checks that `peer` was never told to be ready.
    async fn stop_events(&mut self, peer: libp2p::PeerId) {
        self.shutdown.cancel();
        while let Some(event) = within(self.events.next()).await {
            assert!(!matches!(event, Event::PeerReady { peer: ready, .. } if ready == peer));
        }
    }
}

#[tokio::test]
async fn a_peer_without_a_status_is_left_after_a_while() {
    let node = Node::with(TCP, genesis(), |config| config.timeouts.handshake = Duration::from_millis(100)).await;
    let mut raw = Raw::start(Some(node.address())).await;
    let mut goodbyes = raw.accept(Method::Goodbye);
    assert_eq!(next_goodbye(&mut goodbyes).await, GoodbyeReason::Fault);
    let info = eventually(|| async { node.info(raw.id).await.filter(|info| info.state == PeerState::Gone) }).await;
    assert_eq!(info.last_fault.unwrap().offence, Offence::NoHandshake);
}

/// A server that has no room answers nothing. Who keeps it busy must not get it banned.
#[tokio::test]
async fn an_empty_answer_to_a_status_is_no_malice() {
    let node = Node::start(TCP).await;
    let mut raw = Raw::start(None).await;
    let mut streams = raw.accept(Method::Status);
    within(node.handle.dial(raw.address.clone())).await.unwrap();
    let (_, mut stream) = within(streams.next()).await.unwrap();
    read_request(&mut stream, Method::Status).await.unwrap();
    futures::AsyncWriteExt::close(&mut stream).await.unwrap();
    let info = node.info_when(raw.id, |info| info.last_fault.is_some()).await;
    assert_eq!(info.last_fault.unwrap().offence, Offence::Truncated);
}

#[tokio::test]
async fn news_of_a_status_reaches_every_peer() {
    let (mut a, mut b) = pair(MEMORY).await;
    let mut c = Node::start(MEMORY).await;
    connect(&mut c, &mut a).await;
    for height in 1..=50 {
        a.handle.set_status(Status { decided_height: height, ..Status::default() });
    }
    for node in [&mut b, &mut c] {
        let peer = node
            .event(|event| match event {
                Event::PeerStatus { peer, status } if status.decided_height == 50 => Some(peer),
                _ => None,
            })
            .await;
        assert_eq!(peer, a.id());
    }
    let told: u64 = a
        .metrics()
        .lines()
        .filter(|line| line.starts_with(r#"lapis_p2p_exchanges_total{protocol="status",side="client""#))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
        .sum();
    assert!(told <= 6, "fifty changes at once were told {told} times to two peers");
}

#[tokio::test]
async fn peers_hear_goodbye_when_a_node_stops() {
    let (mut a, b) = pair(TCP).await;
    let b_id = b.id();
    b.stop().await.unwrap();
    assert_eq!(a.gone().await, (b_id, GoneReason::Goodbye(GoodbyeReason::Shutdown)));
    assert_eq!(a.handle.connected_count(), 0);
}

#[tokio::test]
async fn a_node_that_stops_finishes_what_it_serves() {
    let (mut a, b) = pair(TCP).await;
    let mut exchange = a.request(b.id(), crate::harness::blobs(1, 128)).await;
    within(exchange.next()).await.unwrap().unwrap();
    b.shutdown.cancel();
    assert_eq!(crate::harness::all(&mut exchange).await.unwrap().len(), 127);
    assert_eq!(a.gone().await.1, GoneReason::Goodbye(GoodbyeReason::Shutdown));
    within(b.running).await.unwrap().unwrap();
}

#[tokio::test]
async fn events_and_calls_end_with_the_service() {
    let (mut a, b) = pair(MEMORY).await;
    let handle = a.handle.clone();
    a.shutdown.cancel();
    within(a.running).await.unwrap().unwrap();
    while within(a.events.next()).await.is_some() {}
    assert!(within(handle.peers()).await.is_err());
    assert!(within(handle.request(b.id(), crate::harness::blobs(1, 1))).await.is_err());
    assert!(within(handle.dial(b.address())).await.is_err());
}
