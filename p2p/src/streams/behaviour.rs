//! Routes requests to open streams to connections.

use std::{
    collections::HashMap,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use libp2p::{
    Multiaddr, PeerId,
    core::{Endpoint, transport::PortUse},
    swarm::{
        ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, NotifyHandler, THandler, THandlerInEvent,
        THandlerOutEvent, ToSwarm,
        behaviour::{ConnectionClosed, ConnectionEstablished},
    },
};
use tokio::sync::mpsc;

use super::{
    Control, Inbound, Open, OpenError, Traffic,
    handler::{Handler, OpenStream},
};

/// Requests to open a stream that wait for the behaviour: callers wait when it is full.
const OPEN_QUEUE: usize = 64;

/// The behaviour. One per swarm.
#[derive(Debug)]
pub(crate) struct Behaviour {
    opens: mpsc::Receiver<Open>,
    inbound: mpsc::Sender<Inbound>,
    /// Established connections, oldest first.
    connections: HashMap<PeerId, Vec<ConnectionId>>,
    /// Of every handler that exists.
    traffic: HashMap<ConnectionId, Arc<Traffic>>,
    open_timeout: Duration,
}

impl Behaviour {
    /// Streams of others go to `inbound`.
    pub(crate) fn new(inbound: mpsc::Sender<Inbound>, open_timeout: Duration) -> (Self, Control) {
        let (sender, opens) = mpsc::channel(OPEN_QUEUE);
        let (connections, traffic) = (HashMap::new(), HashMap::new());
        (Self { opens, inbound, connections, traffic, open_timeout }, Control { opens: sender })
    }

    /// The counters of a connection.
    pub(crate) fn traffic(&self, connection: ConnectionId) -> Arc<Traffic> {
        self.traffic.get(&connection).cloned().unwrap_or_default()
    }

    fn handler(&mut self, connection: ConnectionId, peer: PeerId) -> Handler {
        let traffic = Arc::<Traffic>::default();
        self.traffic.insert(connection, traffic.clone());
        Handler::new(peer, traffic, self.inbound.clone(), self.open_timeout)
    }

    fn closed(&mut self, peer: &PeerId, connection: ConnectionId) {
        self.traffic.remove(&connection);
        if let Some(connections) = self.connections.get_mut(peer) {
            connections.retain(|id| *id != connection);
            if connections.is_empty() {
                self.connections.remove(peer);
            }
        }
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = std::convert::Infallible;

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler(connection, peer))
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler(connection, peer))
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(ConnectionEstablished { peer_id, connection_id, .. }) => {
                self.connections.entry(peer_id).or_default().push(connection_id);
            }
            FromSwarm::ConnectionClosed(ConnectionClosed { peer_id, connection_id, .. }) => {
                self.closed(&peer_id, connection_id);
            }
            // Another behaviour may refuse a connection for which this one has a handler already.
            FromSwarm::DialFailure(failure) => drop(self.traffic.remove(&failure.connection_id)),
            FromSwarm::ListenFailure(failure) => drop(self.traffic.remove(&failure.connection_id)),
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        while let Poll::Ready(Some(Open { peer, method, reply })) = self.opens.poll_recv(cx) {
            let newest = self.connections.get(&peer).and_then(|connections| connections.last());
            let Some(connection) = newest else {
                // A caller that has given up does not need the answer.
                let _ = reply.send(Err(OpenError::NotConnected));
                continue;
            };
            return Poll::Ready(ToSwarm::NotifyHandler {
                peer_id: peer,
                handler: NotifyHandler::One(*connection),
                event: OpenStream { method, reply },
            });
        }
        Poll::Pending
    }
}
