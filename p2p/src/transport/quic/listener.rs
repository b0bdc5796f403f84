//! A socket that takes connections of others.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use futures::{FutureExt, future::BoxFuture};
use if_watch::{IfEvent, tokio::IfWatcher};
use libp2p::core::transport::{ListenerId, TransportEvent};
use quinn::{Endpoint, Incoming, VarInt};

use super::{
    QuicError, Upgrade,
    address::{address_of, reaches},
    connection::established,
};

type Event = TransportEvent<Upgrade, QuicError>;

/// One endpoint that others connect to.
pub(super) struct Listener {
    pub(super) id: ListenerId,
    pub(super) endpoint: Endpoint,
    socket: SocketAddr,
    handshake: Duration,
    accepting: BoxFuture<'static, Option<Incoming>>,
    /// Of the machine's addresses, where it listens on all of them.
    interfaces: Option<IfWatcher>,
    /// What is to be told first.
    event: Option<Event>,
    closed: bool,
    waker: Option<Waker>,
}

impl Listener {
    pub(super) fn new(id: ListenerId, endpoint: Endpoint, handshake: Duration) -> io::Result<Self> {
        let socket = endpoint.local_addr()?;
        let everywhere = socket.ip().is_unspecified();
        let interfaces = if everywhere { Some(IfWatcher::new()?) } else { None };
        let listen_addr = address_of(socket);
        let event = (!everywhere).then_some(TransportEvent::NewAddress { listener_id: id, listen_addr });
        let accepting = accept(&endpoint);
        Ok(Self { id, endpoint, socket, handshake, accepting, interfaces, event, closed: false, waker: None })
    }

    /// Whether connections to `to` can begin here.
    pub(super) fn reaches(&self, to: IpAddr) -> bool {
        !self.closed && reaches(self.socket.ip(), to)
    }

    /// Closes the socket with all connections on it.
    pub(super) fn close(&mut self) {
        if std::mem::replace(&mut self.closed, true) {
            return;
        }
        self.endpoint.close(VarInt::from_u32(0), &[]);
        self.event = Some(TransportEvent::ListenerClosed { listener_id: self.id, reason: Ok(()) });
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// What an interface that came or went means.
    fn poll_interfaces(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        loop {
            let Some(interfaces) = &mut self.interfaces else { return Poll::Pending };
            let listener_id = self.id;
            let (network, up) = match std::task::ready!(interfaces.poll_if_event(cx)) {
                Ok(IfEvent::Up(network)) => (network, true),
                Ok(IfEvent::Down(network)) => (network, false),
                Err(error) => return Poll::Ready(TransportEvent::ListenerError { listener_id, error: error.into() }),
            };
            let host = network.addr();
            if host.is_ipv4() == self.socket.is_ipv4() {
                let listen_addr = address_of(SocketAddr::new(host, self.socket.port()));
                return Poll::Ready(if up {
                    TransportEvent::NewAddress { listener_id, listen_addr }
                } else {
                    TransportEvent::AddressExpired { listener_id, listen_addr }
                });
            }
        }
    }

    /// A connection that somebody opens. Nothing is done for one whose address may be made up, but to ask for a proof:
    /// else whoever can send datagrams in the name of others has the places of all handshakes, or those of one address.
    fn on_incoming(&self, incoming: Incoming) -> Option<Event> {
        if !incoming.remote_address_validated() {
            // An error says that its proof was not good.
            if let Err(error) = incoming.retry() {
                error.into_incoming().ignore();
            }
            return None;
        }
        let (listener_id, remote) = (self.id, incoming.remote_address());
        Some(match incoming.accept() {
            Ok(connecting) => TransportEvent::Incoming {
                listener_id,
                upgrade: established(connecting, self.handshake).boxed(),
                local_addr: address_of(self.socket),
                send_back_addr: address_of(remote),
            },
            Err(error) => TransportEvent::ListenerError { listener_id, error: error.into() },
        })
    }
}

impl futures::Stream for Listener {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        loop {
            if let Some(event) = self.event.take() {
                return Poll::Ready(Some(event));
            }
            if self.closed {
                return Poll::Ready(None);
            }
            if let Poll::Ready(event) = self.poll_interfaces(cx) {
                return Poll::Ready(Some(event));
            }
            match self.accepting.poll_unpin(cx) {
                Poll::Ready(Some(incoming)) => {
                    self.accepting = accept(&self.endpoint);
                    self.event = self.on_incoming(incoming);
                }
                Poll::Ready(None) => self.close(),
                Poll::Pending => {
                    self.waker = Some(cx.waker().clone());
                    return Poll::Pending;
                }
            }
        }
    }
}

fn accept(endpoint: &Endpoint) -> BoxFuture<'static, Option<Incoming>> {
    let endpoint = endpoint.clone();
    async move { endpoint.accept().await }.boxed()
}
