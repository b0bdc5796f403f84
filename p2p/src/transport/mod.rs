//! How bytes get from node to node: TCP with noise and yamux, QUIC, and libp2p's in-process memory transport.

mod quic;
mod yamux;

use std::{
    io,
    net::{IpAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use futures::future::Either;
use libp2p::{
    Multiaddr, PeerId, Transport,
    core::{
        muxing::StreamMuxerBox,
        transport::{Boxed, MemoryTransport, OrTransport},
        upgrade::Version,
    },
    dns,
    identity::Keypair,
    metrics::BandwidthTransport,
    multiaddr::Protocol,
    noise, tcp,
};
use prometheus_client::registry::Registry;

use crate::{StartError, limits::ConnectionLimits};

/// How long a peer may take to read what is written before a connection is closed. One that does not read at all would
/// else keep its place among the connections.
const CLOSING: Duration = Duration::from_secs(5);

/// Builds every transport under one roof. Addresses decide which of them is used.
pub(crate) fn build(
    keypair: &Keypair,
    limits: &ConnectionLimits,
    timeout: Duration,
    registry: &mut Registry,
) -> Result<Boxed<(PeerId, StreamMuxerBox)>, StartError> {
    let noise = noise::Config::new(keypair)?;
    let windows = Arc::new(yamux::Budget::new(limits.receive_windows));
    let yamux = yamux::Config::new(limits.streams, limits.receive_window, windows, CLOSING);
    let tcp = tcp::tokio::Transport::new(tcp::Config::new().nodelay(true))
        .upgrade(Version::V1Lazy)
        .authenticate(noise.clone())
        .multiplex(yamux.clone())
        .timeout(timeout);
    let memory = MemoryTransport::new().upgrade(Version::V1Lazy).authenticate(noise).multiplex(yamux).timeout(timeout);
    let quic = quic::Transport::new(keypair, limits, timeout)?;
    let streams = OrTransport::new(tcp, memory).map(|either, _| match either {
        Either::Left((peer, muxer)) => (peer, StreamMuxerBox::new(muxer)),
        Either::Right((peer, muxer)) => (peer, StreamMuxerBox::new(muxer)),
    });
    let all = OrTransport::new(quic, streams).map(|either, _| match either {
        Either::Left((peer, connection)) => (peer, StreamMuxerBox::new(connection)),
        Either::Right(connection) => connection,
    });
    let named = dns::tokio::Transport::system(all).map_err(StartError::Dns)?;
    let counted = BandwidthTransport::new(named, registry);
    Ok(counted.map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer))).boxed())
}

/// Fails where another socket listens on `address`. libp2p binds TCP with `SO_REUSEPORT`, which would quietly share it.
pub(crate) fn check_free(address: &Multiaddr) -> io::Result<()> {
    let mut parts = address.iter();
    let host = match parts.next() {
        Some(Protocol::Ip4(host)) => IpAddr::V4(host),
        Some(Protocol::Ip6(host)) => IpAddr::V6(host),
        _ => return Ok(()),
    };
    match parts.next() {
        Some(Protocol::Tcp(port)) => TcpListener::bind((host, port)).map(drop),
        _ => Ok(()),
    }
}
