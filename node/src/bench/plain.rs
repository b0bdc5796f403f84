//! Streams of plain libp2p, with its own transports and settings: what is there without Lapis.
//!
//! Two protocols run over them: [`stream`](super::stream), the ceiling of any serving, and
//! [`whole_height`](super::whole_height), a baseline. Connections are TCP with noise and yamux, or QUIC.

use std::{convert::Infallible, io, time::Duration};

use futures::StreamExt;
use lapis_p2p::ConnectionLimits;
use libp2p::{
    Multiaddr, PeerId, StreamProtocol, Swarm, SwarmBuilder, TransportError,
    multiaddr::Protocol,
    noise, quic,
    swarm::{DialError, SwarmEvent},
    tcp, yamux,
};
use libp2p_stream::{AlreadyRegistered, Behaviour, Control, IncomingStreams, OpenStreamError};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Bytes that one QUIC stream may have received and not yet read, as in Lapis.
const QUIC_STREAM_WINDOW: u32 = 4 * 1024 * 1024;
/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(10);
/// How long a connection without streams stays open: longer than any bench.
const IDLE: Duration = Duration::from_secs(3600);

/// Why plain libp2p does not do what it is to do.
#[derive(Debug, thiserror::Error)]
pub enum PlainError {
    /// No key for the handshake.
    #[error("the handshake cannot be set up")]
    Noise(#[from] noise::Error),
    /// An address cannot be listened on.
    #[error("cannot listen")]
    Listen(#[from] TransportError<io::Error>),
    /// The protocol is served already.
    #[error(transparent)]
    Registered(#[from] AlreadyRegistered),
    /// The address does not end with a peer id.
    #[error("{0} does not end with /p2p/PEER_ID")]
    NoPeer(Multiaddr),
    /// Nobody answers.
    #[error("cannot connect")]
    Dial(#[from] Box<DialError>),
    /// Nobody answered in time.
    #[error("no connection within {CONNECT:?}")]
    Silent,
    /// No stream.
    #[error("cannot open a stream")]
    Open(#[from] OpenStreamError),
    /// A stream broke.
    #[error("a stream broke")]
    Io(#[from] io::Error),
    /// A message is longer than any may be.
    #[error("a message of {0} bytes")]
    TooLong(u64),
    /// A message is not what it should be.
    #[error("a message that makes no sense")]
    Malformed,
    /// Of what was asked for, nothing came.
    #[error("an empty answer")]
    Empty,
}

impl From<Infallible> for PlainError {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

/// Listens over TCP and QUIC on loopback.
pub(super) struct PlainServer {
    swarm: Swarm<Behaviour>,
    /// TCP, then QUIC; each with the peer id.
    pub(super) addresses: Vec<Multiaddr>,
}

impl PlainServer {
    pub(super) async fn bind() -> Result<Self, PlainError> {
        let mut swarm = swarm()?;
        let peer = *swarm.local_peer_id();
        let mut addresses = Vec::new();
        for address in listen_addresses() {
            swarm.listen_on(address)?;
            loop {
                if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
                    addresses.push(address.with(Protocol::P2p(peer)));
                    break;
                }
            }
        }
        Ok(Self { swarm, addresses })
    }

    /// Streams of `protocol`.
    pub(super) fn accept(&self, protocol: StreamProtocol) -> Result<IncomingStreams, PlainError> {
        Ok(self.swarm.behaviour().new_control().accept(protocol)?)
    }

    pub(super) async fn run(mut self) {
        loop {
            self.swarm.select_next_some().await;
        }
    }
}

/// A connection to a [`PlainServer`]; it is closed when this is dropped.
pub(super) struct PlainClient {
    pub(super) control: Control,
    pub(super) peer: PeerId,
    _end: DropGuard,
}

impl PlainClient {
    pub(super) async fn connect(address: &Multiaddr) -> Result<Self, PlainError> {
        let peer = peer_of(address).ok_or_else(|| PlainError::NoPeer(address.clone()))?;
        let mut swarm = swarm()?;
        swarm.dial(address.clone()).map_err(Box::new)?;
        let connected = tokio::time::timeout(CONNECT, established(&mut swarm)).await;
        connected.map_err(|_| PlainError::Silent)??;
        let end = CancellationToken::new();
        let control = swarm.behaviour().new_control();
        let drive = async move {
            loop {
                swarm.select_next_some().await;
            }
        };
        tokio::spawn(end.clone().run_until_cancelled_owned(drive));
        Ok(Self { control, peer, _end: end.drop_guard() })
    }
}

async fn established(swarm: &mut Swarm<Behaviour>) -> Result<(), PlainError> {
    loop {
        match swarm.select_next_some().await {
            SwarmEvent::ConnectionEstablished { .. } => return Ok(()),
            SwarmEvent::OutgoingConnectionError { error, .. } => return Err(Box::new(error).into()),
            _ => {}
        }
    }
}

/// The peer at the end of an address.
pub(super) fn peer_of(address: &Multiaddr) -> Option<PeerId> {
    match address.iter().last() {
        Some(Protocol::P2p(peer)) => Some(peer),
        _ => None,
    }
}

/// TCP and QUIC on loopback, on ports that the system chooses.
pub(super) fn listen_addresses() -> [Multiaddr; 2] {
    let loopback = || Multiaddr::from(std::net::Ipv4Addr::LOCALHOST);
    [loopback().with(Protocol::Tcp(0)), loopback().with(Protocol::Udp(0)).with(Protocol::QuicV1)]
}

fn swarm() -> Result<Swarm<Behaviour>, PlainError> {
    let builder = SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::new().nodelay(true), noise::Config::new, yamux::Config::default)?
        .with_quic_config(quic_config)
        .with_behaviour(|_| Behaviour::new())?;
    Ok(builder.with_swarm_config(|config| config.with_idle_connection_timeout(IDLE)).build())
}

fn quic_config(mut config: quic::Config) -> quic::Config {
    let limits = ConnectionLimits::default();
    config.max_concurrent_stream_limit = limits.streams;
    config.max_stream_data = QUIC_STREAM_WINDOW;
    config.max_connection_data = limits.receive_window;
    config
}
