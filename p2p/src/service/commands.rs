//! What the node asks for.

use std::time::{Duration, Instant};

use libp2p::{
    Multiaddr, PeerId,
    swarm::dial_opts::{DialOpts, PeerCondition},
};

use super::{Dial, Service};
use crate::{BanError, DialError, handle::Command, peers::peer_of};

impl Service {
    pub(super) fn on_command(&mut self, command: Command) {
        // Whoever asked may have lost interest in the answer.
        match command {
            Command::Peers(reply) => drop(reply.send(self.table.snapshot(Instant::now()))),
            Command::Report(peer, offence) => self.charge(peer, offence),
            Command::Disconnect(peer, reason) => self.leave(peer, reason),
            Command::Dial(address, reply) => {
                self.expire(std::time::Instant::now());
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
            Command::Ban(peer, time, reply) => drop(reply.send(self.ban_by_hand(peer, time))),
            Command::Unban(peer, reply) => drop(reply.send(self.unban(&peer))),
            Command::Remembered(reply) => drop(reply.send(self.remembered())),
            Command::Rotate => self.planner.hurry(Instant::now()),
        }
    }

    fn ban_by_hand(&mut self, peer: PeerId, time: Duration) -> Result<(), BanError> {
        let now = Instant::now();
        if peer == *self.swarm.local_peer_id() {
            return Err(BanError::Own(peer));
        }
        if self.kept.contains(&peer) && !self.config.trusted.contains(&peer) {
            return Err(BanError::Configured(peer));
        }
        if !self.table.ban(peer, now + time, now) {
            return Err(BanError::Trusted(peer));
        }
        tracing::info!(%peer, ?time, "peer banned by hand");
        self.ban(peer);
        self.count_peers(now);
        Ok(())
    }

    fn unban(&mut self, peer: &PeerId) -> bool {
        let now = Instant::now();
        let lifted = self.table.unban(peer, now);
        if lifted {
            tracing::info!(%peer, "ban lifted by hand");
            self.swarm.behaviour_mut().blocked.unblock_peer(*peer);
            self.count_peers(now);
        }
        lifted
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
