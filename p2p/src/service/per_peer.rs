//! At most so many connections of one peer, whoever opened them. Nothing is kept of a peer that has none.

use std::{
    collections::HashMap,
    convert::Infallible,
    task::{Context, Poll},
};

use libp2p::{
    Multiaddr, PeerId,
    core::{Endpoint, transport::PortUse},
    swarm::{
        ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent,
        ToSwarm, dummy,
    },
};

/// Connections of one peer are as many as may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("connection limit exceeded: at most {limit} connections per peer are allowed")]
pub(super) struct TooManyOfPeer {
    limit: u32,
}

/// Counts established connections by peer.
#[derive(Debug)]
pub(crate) struct Behaviour {
    limit: u32,
    counts: HashMap<PeerId, u32>,
}

impl Behaviour {
    pub(super) fn new(limit: u32) -> Self {
        Self { limit, counts: HashMap::new() }
    }

    fn check(&self, peer: &PeerId) -> Result<dummy::ConnectionHandler, ConnectionDenied> {
        if self.counts.get(peer).is_some_and(|count| *count >= self.limit) {
            return Err(ConnectionDenied::new(TooManyOfPeer { limit: self.limit }));
        }
        Ok(dummy::ConnectionHandler)
    }

    fn opened(&mut self, peer: PeerId) {
        let count = self.counts.entry(peer).or_insert(0);
        *count = count.saturating_add(1);
    }

    fn closed(&mut self, peer: &PeerId) {
        let Some(count) = self.counts.get_mut(peer) else { return };
        *count = count.saturating_sub(1);
        if *count == 0 {
            self.counts.remove(peer);
        }
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.check(&peer)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.check(&peer)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(opened) => self.opened(opened.peer_id),
            FromSwarm::ConnectionClosed(closed) => self.closed(&closed.peer_id),
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn as_many_connections_of_a_peer_as_allowed() {
        let mut behaviour = Behaviour::new(2);
        let (peer, other) = (PeerId::random(), PeerId::random());
        for _ in 0..2 {
            assert!(behaviour.check(&peer).is_ok());
            behaviour.opened(peer);
        }
        assert!(behaviour.check(&peer).is_err());
        assert!(behaviour.check(&other).is_ok());
        behaviour.closed(&peer);
        assert!(behaviour.check(&peer).is_ok());
    }

    #[test]
    fn nothing_is_kept_of_peers_that_are_gone() {
        let mut behaviour = Behaviour::new(2);
        for _ in 0..10_000 {
            let peer = PeerId::random();
            behaviour.opened(peer);
            behaviour.opened(peer);
            behaviour.closed(&peer);
            behaviour.closed(&peer);
            behaviour.closed(&peer);
        }
        assert!(behaviour.counts.is_empty());
    }
}
