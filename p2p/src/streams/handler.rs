//! The streams of one connection.

use std::{
    collections::VecDeque,
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use lapis_protocol_spec::Method;
use libp2p::{
    PeerId, Stream,
    swarm::{
        ConnectionHandler, ConnectionHandlerEvent, StreamUpgradeError, SubstreamProtocol,
        handler::{ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound},
    },
};
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    Channel, Inbound, OpenError, OpenReply, Traffic,
    upgrade::{AnyMethod, OneMethod},
};

/// A stream to be opened on this connection.
#[derive(Debug)]
pub(crate) struct OpenStream {
    pub(super) method: Method,
    pub(super) reply: OpenReply,
}

/// The handler of one connection.
#[derive(Debug)]
pub(crate) struct Handler {
    peer: PeerId,
    traffic: Arc<Traffic>,
    inbound: mpsc::Sender<Inbound>,
    /// Bounded by the permits that callers hold, and by what was asked for when they gave up.
    pending: VecDeque<OpenStream>,
    open_timeout: Duration,
    closed: CancellationToken,
    _closes: DropGuard,
}

impl Handler {
    pub(super) fn new(
        peer: PeerId,
        traffic: Arc<Traffic>,
        inbound: mpsc::Sender<Inbound>,
        open_timeout: Duration,
    ) -> Self {
        let closed = CancellationToken::new();
        let _closes = closed.clone().drop_guard();
        Self { peer, traffic, inbound, pending: VecDeque::new(), open_timeout, closed, _closes }
    }

    fn channel(&self, stream: Stream) -> Channel {
        Channel { stream, traffic: self.traffic.clone(), closed: self.closed.clone() }
    }

    fn hand_over(&self, stream: Stream, method: Method) {
        let inbound = Inbound { peer: self.peer, method, channel: self.channel(stream) };
        if self.inbound.try_send(inbound).is_err() {
            tracing::debug!(peer = %self.peer, method = method.name(), "stream reset: too many wait to be served");
        }
    }
}

impl ConnectionHandler for Handler {
    type FromBehaviour = OpenStream;
    type ToBehaviour = Infallible;
    type InboundProtocol = AnyMethod;
    type OutboundProtocol = OneMethod;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = OpenReply;

    fn listen_protocol(&self) -> SubstreamProtocol<AnyMethod> {
        SubstreamProtocol::new(AnyMethod, ()).with_timeout(self.open_timeout)
    }

    /// Connections are closed by decision, never for being idle.
    fn connection_keep_alive(&self) -> bool {
        true
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ConnectionHandlerEvent<OneMethod, OpenReply, Infallible>> {
        while let Some(OpenStream { method, reply }) = self.pending.pop_front() {
            if !reply.is_closed() {
                let protocol = SubstreamProtocol::new(OneMethod(method), reply).with_timeout(self.open_timeout);
                return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol });
            }
        }
        Poll::Pending
    }

    /// The swarm polls the handler after every event, so nothing is to be woken here.
    fn on_behaviour_event(&mut self, event: OpenStream) {
        self.pending.push_back(event);
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<'_, AnyMethod, OneMethod, (), OpenReply>) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound { protocol: (stream, method), .. }) => {
                self.hand_over(stream, method)
            }
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound { protocol: stream, info: reply }) => {
                // A caller that has given up drops, and thereby resets, the stream.
                let _ = reply.send(Ok(self.channel(stream)));
            }
            ConnectionEvent::DialUpgradeError(DialUpgradeError { info: reply, error }) => {
                let error = match error {
                    StreamUpgradeError::Timeout => OpenError::Timeout,
                    StreamUpgradeError::NegotiationFailed => OpenError::Unsupported,
                    StreamUpgradeError::Io(error) => OpenError::Io(error),
                    StreamUpgradeError::Apply(never) => match never {},
                };
                let _ = reply.send(Err(error));
            }
            _ => {}
        }
    }
}
