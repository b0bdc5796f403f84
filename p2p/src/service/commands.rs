//! What the node asks for.

use std::time::Instant;

use libp2p::{
    Multiaddr,
    swarm::dial_opts::{DialOpts, PeerCondition},
};

use super::{Dial, Service};
use crate::{DialError, handle::Command, peers::peer_of};

impl Service {
    pub(super) fn on_command(&mut self, command: Command) {
        // Whoever asked may have lost interest in the answer.
        match command {
            Command::Peers(reply) => drop(reply.send(self.table.snapshot(Instant::now()))),
            Command::Report(peer, offence) => self.charge(peer, offence),
            Command::Disconnect(peer, reason) => self.leave(peer, reason),
            Command::Dial(address, reply) => {
                let connected = peer_of(&address).filter(|peer| self.table.is_connected(peer));
                if let Some(peer) = connected {
                    drop(reply.send(Ok(peer)));
                } else if self.dials.len() >= self.config.limits.connections.pending_outbound as usize {
                    drop(reply.send(Err(DialError::Busy)));
                } else {
                    self.dial(dial_options(&address), Dial::Asked(address, reply));
                }
            }
            Command::Announce(decided, reply) => {
                let published = self.announcements.publish(&mut self.swarm.behaviour_mut().gossip, decided);
                drop(reply.send(published.map_err(Into::into)));
            }
            Command::Judge(message, acceptance) => self.judge(&message, acceptance),
        }
    }
}

/// Dials the peer that the address names, unless it is connected; whoever is there, if it names none.
pub(super) fn dial_options(address: &Multiaddr) -> DialOpts {
    match peer_of(address) {
        Some(peer) => DialOpts::peer_id(peer)
            .condition(PeerCondition::DisconnectedAndNotDialing)
            .addresses(vec![address.clone()])
            .build(),
        None => DialOpts::unknown_peer_id().address(address.clone()).build(),
    }
}
