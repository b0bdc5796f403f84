//! QUIC with bounded memory, for those who prove where they are.
//!
//! libp2p's own transport over the same library has no setting for two things that are needed here: how much is kept
//! that a peer does not acknowledge, and a proof of their address from those who connect. On the wire it is the same.

mod address;
mod connection;
mod listener;
mod settings;

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream::SelectAll};
use libp2p::{
    Multiaddr, PeerId,
    core::{
        Endpoint as Role,
        transport::{DialOpts, ListenerId, PortUse, TransportError, TransportEvent},
    },
    identity::Keypair,
};
use quinn::{Endpoint, TokioRuntime};
use socket2::{Domain, Protocol, Socket, Type};

use crate::{StartError, limits::ConnectionLimits};

use address::socket_of;
pub(crate) use connection::Connection;
use connection::established;
use listener::Listener;
use settings::Settings;

/// Why there is no connection, or no stream.
#[derive(Debug, thiserror::Error)]
pub(crate) enum QuicError {
    #[error(transparent)]
    Connect(#[from] quinn::ConnectError),
    #[error(transparent)]
    Connection(#[from] quinn::ConnectionError),
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("the handshake took too long")]
    HandshakeTimedOut,
    #[error("the other side does not say which peer it is")]
    NoIdentity,
}

type Upgrade = BoxFuture<'static, Result<(PeerId, Connection), QuicError>>;

/// The transport.
pub(super) struct Transport {
    settings: Settings,
    handshake: Duration,
    listeners: SelectAll<Listener>,
    /// Sockets for dialing where nothing listens: of IPv4 and of IPv6.
    dialers: [Option<Endpoint>; 2],
    waker: Option<Waker>,
}

impl Transport {
    pub(super) fn new(keypair: &Keypair, limits: &ConnectionLimits, handshake: Duration) -> Result<Self, StartError> {
        let settings = Settings::new(keypair, limits)?;
        Ok(Self { settings, handshake, listeners: SelectAll::new(), dialers: [None, None], waker: None })
    }

    fn bind(&self, socket: SocketAddr, listens: bool) -> io::Result<Endpoint> {
        let server = listens.then(|| self.settings.server.clone());
        Endpoint::new(self.settings.endpoint.clone(), server, udp_socket(socket)?, Arc::new(TokioRuntime))
    }

    /// The socket from which `to` is dialed: one that listens, if possible, so that the other side sees the address at
    /// which this node can be reached.
    fn dialer(&mut self, to: SocketAddr, port: PortUse) -> io::Result<Endpoint> {
        let any = if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let any = SocketAddr::new(any, 0);
        if port == PortUse::New {
            return self.bind(any, false);
        }
        if let Some(listener) = self.listeners.iter().find(|listener| listener.reaches(to.ip())) {
            return Ok(listener.endpoint.clone());
        }
        let place = usize::from(to.is_ipv6());
        if let Some(dialer) = self.dialers.get(place).and_then(Option::as_ref) {
            return Ok(dialer.clone());
        }
        let dialer = self.bind(any, false)?;
        if let Some(place) = self.dialers.get_mut(place) {
            *place = Some(dialer.clone());
        }
        Ok(dialer)
    }
}

/// A socket on `address`. One of IPv6 takes nothing of IPv4, for which there may be another on the same port.
fn udp_socket(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    Ok(socket.into())
}

impl libp2p::Transport for Transport {
    type Output = (PeerId, Connection);
    type Error = QuicError;
    type ListenerUpgrade = Upgrade;
    type Dial = Upgrade;

    fn listen_on(&mut self, id: ListenerId, address: Multiaddr) -> Result<(), TransportError<QuicError>> {
        let Some(socket) = socket_of(&address) else { return Err(TransportError::MultiaddrNotSupported(address)) };
        let endpoint = self.bind(socket, true).map_err(QuicError::from)?;
        self.listeners.push(Listener::new(id, endpoint, self.handshake).map_err(QuicError::from)?);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
        Ok(())
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        let listener = self.listeners.iter_mut().find(|listener| listener.id == id);
        listener.map(Listener::close).is_some()
    }

    fn dial(&mut self, address: Multiaddr, options: DialOpts) -> Result<Upgrade, TransportError<QuicError>> {
        let socket = socket_of(&address).filter(|socket| socket.port() != 0 && !socket.ip().is_unspecified());
        let (Some(socket), Role::Dialer) = (socket, options.role) else {
            return Err(TransportError::MultiaddrNotSupported(address));
        };
        let endpoint = self.dialer(socket, options.port_use).map_err(QuicError::from)?;
        let (client, limit) = (self.settings.client.clone(), self.handshake);
        Ok(async move {
            // A name is needed and not looked at: certificates name peers.
            established(endpoint.connect_with(client, socket, "l")?, limit).await
        }
        .boxed())
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<TransportEvent<Upgrade, QuicError>> {
        if let Poll::Ready(Some(event)) = self.listeners.poll_next_unpin(cx) {
            return Poll::Ready(event);
        }
        self.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl From<QuicError> for TransportError<QuicError> {
    fn from(error: QuicError) -> Self {
        Self::Other(error)
    }
}
