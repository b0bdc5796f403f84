//! Streams that others open. (`libp2p-stream`, which opens ours, holds one that nobody has taken yet and resets the next:
//! too few for two requests at a time.)

use std::{
    convert::Infallible,
    future::{Ready, ready},
    task::{Context, Poll},
};

use lapis_protocol_spec::Method;
use libp2p::{
    Multiaddr, PeerId, Stream, StreamProtocol,
    core::{
        Endpoint,
        transport::PortUse,
        upgrade::{DeniedUpgrade, InboundUpgrade, UpgradeInfo},
    },
    swarm::{
        ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, FromSwarm, NetworkBehaviour,
        SubstreamProtocol, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
        handler::{ConnectionEvent, FullyNegotiatedInbound},
    },
};
use tokio::sync::mpsc;

/// Streams that wait to be taken: more than a conforming peer opens.
const QUEUE: usize = 256;

/// A stream with who opened it and what for.
pub(super) type Inbound = (PeerId, Method, Stream);

/// Hands over every stream of the methods.
pub(super) struct Acceptor(mpsc::Sender<Inbound>);

/// The acceptor's part of one connection.
pub(super) struct Handler {
    peer: PeerId,
    queue: mpsc::Sender<Inbound>,
}

/// Accepts any method.
pub(super) struct AnyMethod;

pub(super) fn acceptor() -> (Acceptor, mpsc::Receiver<Inbound>) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    (Acceptor(sender), receiver)
}

impl NetworkBehaviour for Acceptor {
    type ConnectionHandler = Handler;
    type ToSwarm = Infallible;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(Handler { peer, queue: self.0.clone() })
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(Handler { peer, queue: self.0.clone() })
    }

    fn on_swarm_event(&mut self, _: FromSwarm<'_>) {}

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Infallible, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Infallible;
    type ToBehaviour = Infallible;
    type InboundProtocol = AnyMethod;
    type OutboundProtocol = DeniedUpgrade;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = ();

    fn listen_protocol(&self) -> SubstreamProtocol<AnyMethod> {
        SubstreamProtocol::new(AnyMethod, ())
    }

    fn connection_keep_alive(&self) -> bool {
        true
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ConnectionHandlerEvent<DeniedUpgrade, (), Infallible>> {
        Poll::Pending
    }

    fn on_behaviour_event(&mut self, event: Infallible) {
        match event {}
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<'_, AnyMethod, DeniedUpgrade>) {
        if let ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound { protocol: (method, stream), .. }) =
            event
        {
            // A full queue means that the test has ended or that a peer opens streams without end: they are reset.
            let _ = self.queue.try_send((self.peer, method, stream));
        }
    }
}

impl UpgradeInfo for AnyMethod {
    type Info = StreamProtocol;
    type InfoIter = Vec<StreamProtocol>;

    fn protocol_info(&self) -> Vec<StreamProtocol> {
        Method::ALL.iter().map(|method| StreamProtocol::new(method.protocol_id())).collect()
    }
}

impl InboundUpgrade<Stream> for AnyMethod {
    type Output = (Method, Stream);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;

    fn upgrade_inbound(self, stream: Stream, protocol: StreamProtocol) -> Self::Future {
        let method = Method::ALL.into_iter().find(|method| method.protocol_id() == protocol.as_ref());
        ready(Ok((method.expect("one of those that were offered"), stream)))
    }
}
