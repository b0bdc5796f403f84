//! libp2p's limits on the number of connections in all, without its memory of peers.
//!
//! Its behaviour keeps an entry for each peer id that was ever connected, which costs whoever makes up ids nothing. It
//! counts by peer for one limit alone, which is not used here ([`super::per_peer`] stands for it): so it is told that all
//! connections are of one peer. Who may pass the limits is asked with the true id.

use std::{
    convert::Infallible,
    task::{Context, Poll},
};

use libp2p::{
    Multiaddr, PeerId,
    connection_limits::{self, ConnectionLimits as Limits},
    core::{Endpoint, transport::PortUse},
    swarm::{
        ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent,
        ToSwarm,
        behaviour::{ConnectionClosed, ConnectionEstablished},
    },
};

use crate::limits::ConnectionLimits;

/// Totals, above which only peers with reserved places are let in.
pub(crate) struct Behaviour {
    limits: connection_limits::Behaviour,
    /// Who stands for everybody: this node itself, which is never connected.
    everybody: PeerId,
}

impl Behaviour {
    pub(super) fn new(limits: &ConnectionLimits, own: PeerId) -> Self {
        let limits = Limits::default()
            .with_max_pending_incoming(Some(limits.pending_inbound))
            .with_max_pending_outgoing(Some(limits.pending_outbound))
            .with_max_established_incoming(Some(limits.inbound))
            .with_max_established_outgoing(Some(limits.outbound))
            .with_max_established(Some(limits.total));
        Self { limits: connection_limits::Behaviour::new(limits), everybody: own }
    }

    /// Gives a peer a reserved place.
    pub(super) fn reserve(&mut self, peer: &PeerId) {
        self.limits.bypass_peer_id(peer);
    }

    /// Takes it back.
    pub(super) fn release(&mut self, peer: &PeerId) {
        self.limits.remove_peer_id(peer);
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = <connection_limits::Behaviour as NetworkBehaviour>::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        connection: ConnectionId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.limits.handle_pending_inbound_connection(connection, local, remote)
    }

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.limits.handle_established_inbound_connection(connection, peer, local, remote)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: Option<PeerId>,
        addresses: &[Multiaddr],
        role: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        self.limits.handle_pending_outbound_connection(connection, peer, addresses, role)
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.limits.handle_established_outbound_connection(connection, peer, address, role, port)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        let peer_id = self.everybody;
        self.limits.on_swarm_event(match event {
            FromSwarm::ConnectionEstablished(opened) => {
                FromSwarm::ConnectionEstablished(ConnectionEstablished { peer_id, ..opened })
            }
            FromSwarm::ConnectionClosed(closed) => FromSwarm::ConnectionClosed(ConnectionClosed { peer_id, ..closed }),
            other => other,
        });
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<ToSwarm<Infallible, THandlerInEvent<Self>>> {
        self.limits.poll(context)
    }
}
