//! The libp2p protocols of a node, in the order in which they may refuse a connection.

use libp2p::{
    allow_block_list::{self, BlockedPeers},
    connection_limits, identify,
    identity::Keypair,
    memory_connection_limits, ping,
    swarm::NetworkBehaviour,
};

use super::per_ip;
use crate::{Config, gossip::Gossip, limits::ConnectionLimits, metrics::Metrics, streams};

/// Name of the family of protocols that identify tells others.
const PROTOCOL_FAMILY: &str = "/lapis/1";

/// Limits on the number of connections, the one that costs least to apply first.
#[derive(NetworkBehaviour)]
#[behaviour(to_swarm = "std::convert::Infallible")]
pub(crate) struct ConnectionCounts {
    per_ip: per_ip::Behaviour,
    totals: connection_limits::Behaviour,
}

#[derive(NetworkBehaviour)]
pub(crate) struct Behaviour {
    pub(super) blocked: allow_block_list::Behaviour<BlockedPeers>,
    limits: ConnectionCounts,
    memory: memory_connection_limits::Behaviour,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    pub(super) gossip: Gossip,
    pub(super) streams: streams::Behaviour,
}

impl Behaviour {
    pub(super) fn new(
        keypair: &Keypair,
        config: &Config,
        gossip: Gossip,
        streams: streams::Behaviour,
        metrics: Metrics,
    ) -> Self {
        let limits = &config.limits.connections;
        let identify = identify::Config::new(PROTOCOL_FAMILY.to_owned(), keypair.public())
            .with_agent_version(config.agent.0.clone());
        Self {
            blocked: allow_block_list::Behaviour::default(),
            limits: ConnectionCounts {
                per_ip: per_ip::Behaviour::new(limits, metrics),
                totals: connection_limits::Behaviour::new(connection_limits(limits)),
            },
            memory: memory_connection_limits::Behaviour::with_max_percentage(f64::from(limits.memory_percent) / 100.0),
            identify: identify::Behaviour::new(identify),
            ping: ping::Behaviour::new(ping::Config::new()),
            gossip,
            streams,
        }
    }
}

fn connection_limits(limits: &ConnectionLimits) -> connection_limits::ConnectionLimits {
    connection_limits::ConnectionLimits::default()
        .with_max_pending_incoming(Some(limits.pending_inbound))
        .with_max_pending_outgoing(Some(limits.pending_outbound))
        .with_max_established_incoming(Some(limits.inbound))
        .with_max_established_outgoing(Some(limits.outbound))
        .with_max_established_per_peer(Some(limits.per_peer))
        .with_max_established(Some(limits.total))
}
