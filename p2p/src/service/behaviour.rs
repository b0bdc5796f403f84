//! The libp2p protocols of a node, in the order in which they may refuse a connection.

use lapis_protocol_spec::Bytes32;
use libp2p::{
    PeerId,
    allow_block_list::{self, BlockedPeers},
    identify,
    identity::Keypair,
    mdns, memory_connection_limits, ping,
    swarm::{NetworkBehaviour, behaviour::toggle::Toggle},
};

use super::{per_ip, per_peer, totals};
use crate::{Config, Mdns, StartError, discovery::Routing, gossip::Gossip, metrics::Metrics, streams};

/// Name of the family of protocols that identify tells others.
const PROTOCOL_FAMILY: &str = "/lapis/1";

/// Limits on the number of connections, the one that costs least to apply first.
#[derive(NetworkBehaviour)]
#[behaviour(to_swarm = "std::convert::Infallible")]
pub(crate) struct ConnectionCounts {
    per_ip: per_ip::Behaviour,
    pub(super) totals: totals::Behaviour,
    per_peer: per_peer::Behaviour,
}

#[derive(NetworkBehaviour)]
pub(crate) struct Behaviour {
    pub(super) blocked: allow_block_list::Behaviour<BlockedPeers>,
    pub(super) limits: ConnectionCounts,
    memory: memory_connection_limits::Behaviour,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    pub(super) routing: Routing,
    mdns: Toggle<mdns::tokio::Behaviour>,
    pub(super) gossip: Gossip,
    pub(super) streams: streams::Behaviour,
}

impl Behaviour {
    pub(super) fn new(
        keypair: &Keypair,
        config: &Config,
        genesis_id: &Bytes32,
        gossip: Gossip,
        streams: streams::Behaviour,
        metrics: Metrics,
    ) -> Result<Self, StartError> {
        let own = keypair.public().to_peer_id();
        let limits = &config.limits.connections;
        let identify = identify::Config::new(PROTOCOL_FAMILY.to_owned(), keypair.public())
            .with_agent_version(config.agent.0.clone())
            // Addresses go through discovery, which looks at them first; identify would hand any to the next dial.
            .with_cache_size(0);
        Ok(Self {
            blocked: allow_block_list::Behaviour::default(),
            limits: ConnectionCounts {
                per_ip: per_ip::Behaviour::new(limits, metrics),
                totals: totals::Behaviour::new(limits, own),
                per_peer: per_peer::Behaviour::new(limits.per_peer),
            },
            memory: memory_connection_limits::Behaviour::with_max_percentage(f64::from(limits.memory_percent) / 100.0),
            identify: identify::Behaviour::new(identify),
            ping: ping::Behaviour::new(ping::Config::new()),
            routing: Routing::new(own, genesis_id),
            mdns: mdns(config.discovery.mdns, own)?,
            gossip,
            streams,
        })
    }
}

fn mdns(mdns: Mdns, own: PeerId) -> Result<Toggle<mdns::tokio::Behaviour>, StartError> {
    let behaviour = match mdns {
        Mdns::Off => None,
        Mdns::On => Some(mdns::tokio::Behaviour::new(mdns::Config::default(), own).map_err(StartError::Mdns)?),
    };
    Ok(behaviour.into())
}
