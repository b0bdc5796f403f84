//! At most so many connections that others open from one IP address. Refuses before a handshake costs anything.
//!
//! A small part of all handshakes under way may be of one address: who opens connections and says nothing must not take
//! the places of everybody else.
//!
//! An address is what a provider gives to one customer: a whole address of IPv4, a /64 of IPv6. Those that this node dials
//! do not count, since it chose them.

use std::{
    collections::HashMap,
    convert::Infallible,
    net::{IpAddr, Ipv6Addr},
    task::{Context, Poll},
};

use libp2p::{
    Multiaddr, PeerId,
    core::{Endpoint, transport::PortUse},
    multiaddr::Protocol,
    swarm::{
        ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent,
        ToSwarm, dummy,
    },
};

use crate::{Loopback, limits::ConnectionLimits, metrics::Metrics};

/// Connections of one address are as many as may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("connection limit exceeded: at most {limit} connections from {address} are allowed")]
pub(super) struct TooManyOfAddress {
    address: IpAddr,
    limit: u32,
}

/// Of the handshakes that may be under way, one address may have such a part.
const PENDING_PART: u32 = 32;

/// But never fewer than so many.
const LEAST_PENDING: u32 = 2;

/// One connection.
#[derive(Clone, Copy, Debug)]
struct Counted {
    address: IpAddr,
    pending: bool,
}

/// The connections of one address.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    all: u32,
    pending: u32,
}

/// Counts inbound connections, established or not, by address.
#[derive(Debug)]
pub(crate) struct Behaviour {
    limit: u32,
    pending_limit: u32,
    loopback: Loopback,
    /// Every connection that counts.
    connections: HashMap<ConnectionId, Counted>,
    counts: HashMap<IpAddr, Count>,
    metrics: Metrics,
}

impl Behaviour {
    pub(super) fn new(limits: &ConnectionLimits, metrics: Metrics) -> Self {
        let pending_limit = (limits.pending_inbound / PENDING_PART).max(LEAST_PENDING);
        let (limit, loopback) = (limits.per_ip, limits.loopback);
        Self { limit, pending_limit, loopback, connections: HashMap::new(), counts: HashMap::new(), metrics }
    }

    fn opened(&mut self, connection: ConnectionId, remote: &Multiaddr) -> Result<(), TooManyOfAddress> {
        let Some(address) = counted_address(remote, self.loopback) else { return Ok(()) };
        let count = self.counts.get(&address).copied().unwrap_or_default();
        for (count, limit) in [(count.all, self.limit), (count.pending, self.pending_limit)] {
            if count >= limit {
                return Err(TooManyOfAddress { address, limit });
            }
        }
        self.counts.insert(address, Count { all: count.all + 1, pending: count.pending + 1 });
        self.connections.insert(connection, Counted { address, pending: true });
        Ok(())
    }

    /// The handshake is over; whether the connection stays is not known yet.
    fn shaken(&mut self, connection: ConnectionId) {
        let Some(counted) = self.connections.get_mut(&connection) else { return };
        let was_pending = std::mem::replace(&mut counted.pending, false);
        if let Some(count) = self.counts.get_mut(&counted.address) {
            count.pending = count.pending.saturating_sub(u32::from(was_pending));
        }
    }

    fn closed(&mut self, connection: ConnectionId) {
        self.shaken(connection);
        let Some(Counted { address, .. }) = self.connections.remove(&connection) else { return };
        if let Some(count) = self.counts.get_mut(&address) {
            count.all = count.all.saturating_sub(1);
            if count.all == 0 {
                self.counts.remove(&address);
            }
        }
    }
}

/// What connections from `remote` are counted by, if they are.
fn counted_address(remote: &Multiaddr, loopback: Loopback) -> Option<IpAddr> {
    let address = remote.iter().find_map(|part| match part {
        Protocol::Ip4(address) => Some(IpAddr::V4(address)),
        Protocol::Ip6(address) => Some(IpAddr::V6(address).to_canonical()),
        _ => None,
    })?;
    match (loopback, address) {
        (Loopback::Exempt, address) if address.is_loopback() => None,
        (Loopback::Exempt | Loopback::Counted, IpAddr::V6(address)) => {
            let [a, b, c, d, ..] = address.segments();
            Some(IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0)))
        }
        (Loopback::Exempt | Loopback::Counted, address @ IpAddr::V4(_)) => Some(address),
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        connection: ConnectionId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.opened(connection, remote).map_err(|error| {
            self.metrics.denied("connections_per_ip");
            ConnectionDenied::new(error)
        })
    }

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.shaken(connection);
        Ok(dummy::ConnectionHandler)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionClosed(closed) => self.closed(closed.connection_id),
            // A handshake that failed, or that another behaviour has refused.
            FromSwarm::ListenFailure(failure) => self.closed(failure.connection_id),
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
mod tests;
