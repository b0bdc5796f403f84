//! At most so many connections that others open from one IP address. Refuses before a handshake costs anything.
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

/// Counts inbound connections, established or not, by address.
#[derive(Debug)]
pub(crate) struct Behaviour {
    limit: u32,
    loopback: Loopback,
    /// Of every connection that counts.
    addresses: HashMap<ConnectionId, IpAddr>,
    counts: HashMap<IpAddr, u32>,
    metrics: Metrics,
}

impl Behaviour {
    pub(super) fn new(limits: &ConnectionLimits, metrics: Metrics) -> Self {
        let (limit, loopback) = (limits.per_ip, limits.loopback);
        Self { limit, loopback, addresses: HashMap::new(), counts: HashMap::new(), metrics }
    }

    fn opened(&mut self, connection: ConnectionId, remote: &Multiaddr) -> Result<(), TooManyOfAddress> {
        let Some(address) = counted_address(remote, self.loopback) else { return Ok(()) };
        let count = self.counts.entry(address).or_insert(0);
        if *count >= self.limit {
            return Err(TooManyOfAddress { address, limit: self.limit });
        }
        *count += 1;
        self.addresses.insert(connection, address);
        Ok(())
    }

    fn closed(&mut self, connection: ConnectionId) {
        let Some(address) = self.addresses.remove(&connection) else { return };
        if let Some(count) = self.counts.get_mut(&address) {
            *count = count.saturating_sub(1);
            if *count == 0 {
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
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
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
