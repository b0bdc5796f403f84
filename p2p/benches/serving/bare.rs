//! The ceiling: the same bytes, framed beforehand, over streams of plain libp2p with the same transports.
//!
//! Where Lapis bounds what a yamux connection may hold unread, libp2p's own wrapper has no setting for it; nothing else
//! differs.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use lapis_p2p::ConnectionLimits;
use libp2p::{
    Multiaddr, PeerId, Stream, StreamProtocol, Swarm, SwarmBuilder, noise, quic, swarm::SwarmEvent, tcp, yamux,
};
use libp2p_stream::{Behaviour, Control};

use crate::{pool::PER_EXCHANGE, wire::Wire};

const PROTOCOL: StreamProtocol = StreamProtocol::new("/bare/1");

fn quic_config(mut config: quic::Config) -> quic::Config {
    let limits = ConnectionLimits::default();
    config.max_concurrent_stream_limit = limits.streams;
    config.max_stream_data = 4 * 1024 * 1024;
    config.max_connection_data = limits.receive_window;
    config
}

fn swarm() -> Swarm<Behaviour> {
    SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::new().nodelay(true), noise::Config::new, yamux::Config::default)
        .unwrap()
        .with_quic_config(quic_config)
        .with_behaviour(|_| Behaviour::new())
        .unwrap()
        .with_swarm_config(|config| config.with_idle_connection_timeout(Duration::from_secs(3600)))
        .build()
}

/// Begins to serve and tells where.
pub(crate) async fn serve(wire: Wire, chunks: Vec<Vec<u8>>) -> Multiaddr {
    let mut swarm = swarm();
    let mut streams = swarm.behaviour().new_control().accept(PROTOCOL).unwrap();
    swarm.listen_on(wire.listen()).unwrap();
    let address = loop {
        if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
            break address.with_p2p(*swarm.local_peer_id()).unwrap();
        }
    };
    tokio::spawn(drive(swarm));
    let chunks = Arc::new(chunks);
    tokio::spawn(async move {
        while let Some((_, stream)) = streams.next().await {
            tokio::spawn(answer(stream, chunks.clone()));
        }
    });
    address
}

/// One more client for the server at `address`, connected.
pub(crate) async fn connect(address: &Multiaddr) -> Control {
    let mut swarm = swarm();
    swarm.dial(address.clone()).unwrap();
    while !matches!(swarm.select_next_some().await, SwarmEvent::ConnectionEstablished { .. }) {}
    let control = swarm.behaviour().new_control();
    tokio::spawn(drive(swarm));
    control
}

async fn drive(mut swarm: Swarm<Behaviour>) {
    loop {
        swarm.select_next_some().await;
    }
}

/// Writes the chunks that are asked for, until the reader is gone.
async fn answer(mut stream: Stream, chunks: Arc<Vec<Vec<u8>>>) -> std::io::Result<()> {
    let mut numbers = Vec::new();
    stream.read_to_end(&mut numbers).await?;
    let [start, count] = [0..8, 8..16].map(|at| {
        let number = numbers.get(at).and_then(|bytes| bytes.try_into().ok()).map(u64::from_le_bytes);
        usize::try_from(number.unwrap_or_default()).unwrap()
    });
    for chunk in chunks.iter().cycle().skip(start % chunks.len()).take(count) {
        stream.write_all(chunk).await?;
    }
    stream.close().await
}

/// One exchange: asks for chunks and drops them as they come, `count_bytes` of each read.
///
/// libp2p-stream resets streams that come faster than they are accepted: such a one, of which nothing was read, is opened
/// again.
pub(crate) async fn exchange(
    client: &mut Control,
    server: PeerId,
    (start, count): (usize, usize),
    buffer: &mut [u8],
    mut count_bytes: impl FnMut(usize),
) {
    loop {
        let mut received = 0;
        let ended = read_all(client, server, (start, count), buffer, |bytes| {
            received += bytes;
            count_bytes(bytes);
        });
        let ended = ended.await;
        if received > 0 {
            return ended.unwrap();
        }
        tokio::task::yield_now().await;
    }
}

async fn read_all(
    client: &mut Control,
    server: PeerId,
    (start, count): (usize, usize),
    buffer: &mut [u8],
    mut received: impl FnMut(usize),
) -> std::io::Result<()> {
    let mut stream = client.open_stream(server, PROTOCOL).await.unwrap();
    let numbers = [(start as u64).to_le_bytes(), (count as u64).to_le_bytes()].concat();
    stream.write_all(&numbers).await?;
    stream.close().await?;
    loop {
        match stream.read(buffer).await? {
            0 => return Ok(()),
            bytes => received(bytes),
        }
    }
}

/// Takes as much as [`crate::lapis::take`] with every exchange.
pub(crate) async fn take(mut client: Control, server: PeerId, start: usize, taken: Arc<AtomicU64>) {
    let mut buffer = read_buffer();
    loop {
        let count = |bytes| {
            taken.fetch_add(bytes as u64, Ordering::Relaxed);
        };
        exchange(&mut client, server, (start, PER_EXCHANGE), &mut buffer, count).await;
    }
}

/// As large as that of Lapis.
pub(crate) fn read_buffer() -> Vec<u8> {
    vec![0; 64 * 1024]
}
