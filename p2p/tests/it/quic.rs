//! QUIC seen from below: datagrams that do not come, and who may have sent them.

use std::{
    net::SocketAddr,
    num::NonZeroU32,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use futures::{AsyncReadExt, future::join};
use lapis_p2p::Offence;
use lapis_protocol_spec::{HeightRange, Method, encode};
use libp2p::{Multiaddr, PeerId, Stream, multiaddr::Protocol};
use tokio::{net::UdpSocket, task::AbortHandle};

use crate::{
    harness::{Node, QUIC, eventually, genesis, within},
    raw::{Raw, request, send},
};

/// Passes datagrams between a client and a server.
struct Way {
    address: SocketAddr,
    task: AbortHandle,
}

impl Drop for Way {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What the client sends is lost once the server has sent so many bytes.
async fn way_with_loss(server: SocketAddr, deaf_after: u64) -> Way {
    let (front, back) = (UdpSocket::bind("127.0.0.1:0").await.unwrap(), UdpSocket::bind("127.0.0.1:0").await.unwrap());
    let address = front.local_addr().unwrap();
    back.connect(server).await.unwrap();
    let task = tokio::spawn(async move {
        let (mut to_server, mut to_client) = (vec![0; 65536], vec![0; 65536]);
        let (mut client, sent) = (None, AtomicU64::new(0));
        loop {
            tokio::select! {
                Ok((count, from)) = front.recv_from(&mut to_server) => {
                    client = Some(from);
                    if sent.load(Ordering::Relaxed) < deaf_after {
                        let _ = back.send(&to_server[..count]).await;
                    }
                }
                Ok(count) = back.recv(&mut to_client) => {
                    sent.fetch_add(count as u64, Ordering::Relaxed);
                    if let Some(client) = client {
                        let _ = front.send_to(&to_client[..count], client).await;
                    }
                }
            }
        }
    })
    .abort_handle();
    Way { address, task }
}

fn socket_of(node: &Node) -> SocketAddr {
    let address = node.address();
    let mut parts = address.iter();
    match (parts.next(), parts.next()) {
        (Some(Protocol::Ip4(host)), Some(Protocol::Udp(port))) => (host, port).into(),
        _ => panic!("{address}"),
    }
}

fn quic_address(socket: SocketAddr, peer: PeerId) -> Multiaddr {
    Multiaddr::from(socket.ip()).with(Protocol::Udp(socket.port())).with(Protocol::QuicV1).with(Protocol::P2p(peer))
}

async fn ask_for_blobs(raw: &mut Raw, node: &Node, start: u64) -> Stream {
    let mut stream = raw.open(node.id(), Method::BlobsByRange).await;
    send(&mut stream, &request(Method::BlobsByRange, &encode(&HeightRange::new(start, 128)))).await;
    stream
}

/// Reads all that comes, for as long as it comes.
async fn read(mut stream: Stream) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(1..) = stream.read(&mut buffer).await {}
}

/// What a peer does not acknowledge has to be kept. It may have windows of any size.
#[tokio::test]
async fn what_a_peer_does_not_acknowledge_is_bounded() {
    const DEAF_AFTER: u64 = 256 * 1024;
    let mut server = Node::with(QUIC, genesis(), |config| {
        config.timeouts.grace = Duration::from_secs(1);
        config.timeouts.minimum_rate = NonZeroU32::MAX;
    })
    .await;
    let way = way_with_loss(socket_of(&server), DEAF_AFTER).await;
    let mut raw = Raw::start(Some(quic_address(way.address, server.id()))).await;
    raw.shake_hands(server.id()).await;
    server.ready().await;
    let first = ask_for_blobs(&mut raw, &server, 1).await;
    let second = ask_for_blobs(&mut raw, &server, 500).await;
    let cut = eventually(|| async {
        let info = server.info(raw.id).await?;
        info.last_fault.filter(|fault| fault.offence == Offence::SlowReader).map(|_| info.bytes_out)
    });
    let kept = tokio::select! {
        kept = cut => kept,
        _ = join(read(first), read(second)) => panic!("the answers came through"),
    };
    // Something was acknowledged before, and two chunks are on their way into the connection.
    let bound = 320 * 1024 * 1024 / 128 + DEAF_AFTER + 2 * 131_300;
    assert!(kept <= bound, "{kept} bytes kept, {bound} allowed");
    assert!(kept > DEAF_AFTER, "{kept} bytes kept");
}

/// Datagrams may name anybody as their sender: they take no place from those who answer.
#[tokio::test]
async fn who_does_not_prove_their_address_takes_no_place() {
    let server = Node::with(QUIC, genesis(), |config| config.limits.connections.pending_inbound = 2).await;
    let client = Node::start(QUIC).await;
    let mut senders = Vec::new();
    for _ in 0..8 {
        // The first words of a handshake, from an address at which nobody answers.
        let hole = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let dial = quic_address(hole.local_addr().unwrap(), PeerId::random());
        let mut first = vec![0; 2048];
        let count = tokio::select! {
            received = hole.recv(&mut first) => received.unwrap(),
            _ = client.handle.dial(dial) => panic!("nobody is there"),
        };
        let sender = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        sender.send_to(&first[..count], socket_of(&server)).await.unwrap();
        senders.push(sender);
    }
    let mut honest = Node::start(QUIC).await;
    within(honest.handle.dial(server.address())).await.unwrap();
    assert_eq!(honest.ready().await.0, server.id());
}
