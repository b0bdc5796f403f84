//! Finding peers: from what the planner decides to dials, walks and goodbyes, and back.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use lapis_protocol_spec::GoodbyeReason;
use libp2p::{
    Multiaddr, PeerId,
    core::transport::ListenerId,
    identify, kad, mdns,
    multiaddr::Protocol,
    swarm::{
        ConnectionId, DialError as SwarmDialError,
        dial_opts::{DialOpts, PeerCondition},
    },
};

use super::{Dial, Service, Walk};
use crate::{
    GoneReason, KnownPeer, Remembered,
    discovery::{ADDRESSES_PER_PEER, Action, Held, Reach, Setback, View, is_definite, plausible, reach, without_peer},
    peers::Direction,
};

/// Most addresses of one message that are looked at.
const LOOKED_AT: usize = 64;

/// Dials of queries beyond what is lacking: those who are asked on the way to whom is looked for.
const QUERY_DIALS: usize = 3;

impl Service {
    /// Looks at the number of peers and does what follows.
    pub(super) fn discover(&mut self) {
        let now = Instant::now();
        self.take_told(now);
        let held = self.held();
        let outbound_room = self.outbound_room(&held);
        let lacking = self.planner.lacking(&held).min(outbound_room);
        let walking = self.walk.is_some();
        let view = View {
            held: &held,
            dialing: self.dials.values().filter(|dial| dial.is_automatic()).count(),
            free_dials: (self.config.limits.connections.pending_outbound as usize)
                .div_ceil(2)
                .saturating_sub(self.dials.len()),
            outbound_room,
            inbound_limit: self.config.limits.connections.inbound,
            may_walk: !walking && self.swarm.behaviour_mut().routing.knows_anyone(),
            excluded: &self.excluded(now),
        };
        for action in self.planner.tick(&view, now, &mut rand::rng()) {
            self.follow(action, now);
        }
        let allowed = if lacking > 0 && self.walk.is_some() { lacking.saturating_add(QUERY_DIALS) } else { lacking };
        let avoided = self.planner.resting(now);
        self.swarm.behaviour_mut().routing.allow(allowed.min(outbound_room), avoided);
        self.metrics.candidates(self.planner.candidates());
    }

    fn follow(&mut self, action: Action, now: Instant) {
        match action {
            Action::Dial(candidate) => {
                let options = DialOpts::peer_id(candidate.peer)
                    .condition(PeerCondition::DisconnectedAndNotDialing)
                    .addresses(candidate.addresses)
                    .build();
                self.dial(options, Dial::Candidate(candidate.peer));
            }
            Action::Boot => {
                for (number, address) in self.boots.due(now) {
                    self.dial(super::commands::dial_options(&address), Dial::Boot(number));
                }
            }
            Action::Walk(destination) => {
                let own = *self.swarm.local_peer_id();
                let query = self.swarm.behaviour_mut().routing.walk(destination, own);
                self.walk = Some(Walk { query, candidates: self.planner.candidates() });
                self.metrics.walk();
            }
            Action::Retire(peer) => {
                tracing::debug!(%peer, "peer of no use is asked to make place");
                self.metrics.rotation();
                self.leave(peer, GoodbyeReason::TooManyPeers);
            }
        }
    }

    /// Connected peers, those that are being left aside.
    fn held(&self) -> Vec<Held> {
        let ours = self.own_status.borrow().status;
        self.table.held(&ours, Instant::now(), |peer| self.kept.contains(peer))
    }

    /// Outbound connections that discovery may have: those for configured peers are not among them.
    fn outbound_room(&self, held: &[Held]) -> usize {
        let limit = self.config.limits.connections.outbound as usize;
        let chosen = held.iter().filter(|peer| peer.direction == Direction::Outbound && !peer.kept).count();
        limit.saturating_sub(self.config.peers.len()).saturating_sub(chosen).saturating_sub(self.dials.len())
    }

    fn excluded(&self, now: Instant) -> HashSet<PeerId> {
        let mut excluded = self.table.unavailable(now);
        excluded.insert(*self.swarm.local_peer_id());
        excluded.extend(&self.kept);
        excluded.extend(self.dials.values().filter_map(|dial| match dial {
            Dial::Candidate(peer) => Some(*peer),
            Dial::Target(_) | Dial::Asked(..) | Dial::Boot(_) => None,
        }));
        excluded
    }

    /// A peer has said who it is, and where it may be found.
    pub(super) fn on_identified(&mut self, peer: PeerId, connection: ConnectionId, info: &identify::Info) {
        let Some(remote) = self.table.address_of(&peer, connection) else { return };
        // A peer is believed to be no nearer than it came from.
        let least = reach(remote).unwrap_or(Reach::Global);
        let told = info.listen_addrs.iter().take(LOOKED_AT);
        let addresses: Vec<_> =
            told.filter_map(|address| plausible(address, &peer, least)).take(ADDRESSES_PER_PEER).collect();
        let routing = &mut self.swarm.behaviour_mut().routing;
        if routing.is_server(&info.protocols) && !addresses.is_empty() {
            routing.add(&peer, &addresses);
        } else {
            routing.remove(&peer);
        }
        self.planner.learn(peer, addresses, Instant::now(), &mut rand::rng());
        if let Some(host) = self.observed.note(&info.observed_addr, peer)
            && self.swarm.external_addresses().next().is_none()
        {
            tracing::info!(%host, "peers see this node there; if they can dial it there, it can be told as external");
        }
    }

    /// A step of a query. What libp2p begins by itself when it has few entries leads to connections, not to candidates.
    pub(super) fn on_routing(&mut self, event: kad::Event) {
        let kad::Event::OutboundQueryProgressed { id, result, step, .. } = event else { return };
        let kad::QueryResult::GetClosestPeers(found) = result else { return };
        let peers = match found {
            Ok(found) => found.peers,
            Err(kad::GetClosestPeersError::Timeout { peers, .. }) => peers,
        };
        let Some(walk) = self.walk.as_ref().filter(|walk| walk.query == id) else { return };
        let (before, now) = (walk.candidates, Instant::now());
        let least = self.swarm.behaviour().routing.least();
        for found in peers {
            self.learn(found.peer_id, &found.addrs, least, now);
        }
        if step.last {
            self.take_told(now);
            self.walk = None;
            let newcomers = self.planner.candidates().saturating_sub(before);
            tracing::debug!(newcomers, "looked for peers");
            self.planner.walked(newcomers, now, rand::random());
        }
    }

    /// Takes note of whom queries have heard of.
    fn take_told(&mut self, now: Instant) {
        for (peer, addresses) in self.swarm.behaviour_mut().routing.take_told() {
            self.planner.learn(peer, addresses, now, &mut rand::rng());
        }
    }

    /// Nodes of the local network have answered.
    pub(super) fn on_mdns(&mut self, event: mdns::Event) {
        let mdns::Event::Discovered(found) = event else { return };
        let now = Instant::now();
        for (peer, address) in found.into_iter().take(LOOKED_AT) {
            self.learn(peer, &[address], Reach::Machine, now);
        }
    }

    fn learn(&mut self, peer: PeerId, addresses: &[Multiaddr], least: Reach, now: Instant) {
        if peer != *self.swarm.local_peer_id() {
            let looked_at = addresses.iter().take(LOOKED_AT);
            let plausible = looked_at.filter_map(|address| plausible(address, &peer, least));
            self.planner.learn(peer, plausible, now, &mut rand::rng());
        }
    }

    /// Statuses were exchanged.
    pub(super) fn on_found(&mut self, peer: PeerId) {
        self.boots.ready(&peer);
        if let Some(address) = self.table.dialed_at(&peer) {
            self.planner.ready(peer, without_peer(address), Instant::now(), &mut rand::rng());
        }
    }

    /// The last connection to a peer is closed.
    pub(super) fn on_lost(&mut self, peer: PeerId, reason: &GoneReason, now: Instant) {
        let why = match reason {
            GoneReason::Goodbye(word) | GoneReason::Disconnected(word) => match word {
                GoodbyeReason::WrongNetwork | GoodbyeReason::Banned => Setback::Unsuitable,
                GoodbyeReason::TooManyPeers | GoodbyeReason::Fault => Setback::Full,
                GoodbyeReason::Shutdown | GoodbyeReason::Other(_) => Setback::Unreachable,
            },
            GoneReason::Closed(_) => Setback::Unreachable,
        };
        if why == Setback::Unsuitable {
            self.swarm.behaviour_mut().routing.remove(&peer);
        }
        self.planner.failed(&peer, why, now, rand::random());
    }

    /// A peer could not be reached, whoever wanted it.
    pub(super) fn on_unreachable(&mut self, peer: PeerId, error: &SwarmDialError) {
        let reached = matches!(error, SwarmDialError::DialPeerConditionFalse(_));
        if reached {
            return;
        }
        if let SwarmDialError::WrongPeerId { address, .. } = error {
            self.planner.forget_address(&peer, &without_peer(address));
        }
        self.planner.failed(&peer, Setback::Unreachable, Instant::now(), rand::random());
    }

    /// An address that is listened on is one that others can dial, if it is definite: the operator has named it, or it
    /// reaches globally without anything in between.
    pub(super) fn on_listening(&mut self, listener: ListenerId, address: &Multiaddr) {
        let place = self.listeners.iter().position(|known| *known == listener);
        let named = place.and_then(|place| self.config.listen.get(place)).is_some_and(is_definite);
        let direct = reach(address) == Some(Reach::Global) && matches!(address.iter().next(), Some(Protocol::Ip4(_)));
        if named || direct {
            self.add_external(address.clone());
        }
    }

    pub(super) fn add_external(&mut self, address: Multiaddr) {
        if let Some(reach) = reach(&address) {
            let routing = &mut self.swarm.behaviour_mut().routing;
            routing.set_least(routing.least().min(reach));
        }
        self.swarm.add_external_address(address);
    }

    /// What is worth keeping over a restart.
    pub(super) fn remembered(&self) -> Remembered {
        let now = Instant::now();
        let mut known = self.planner.known(now);
        let (mut scores, banned) = self.table.remembered(now);
        for peer in &mut known {
            peer.score = scores.remove(&peer.peer).unwrap_or(0.0);
        }
        let strangers = scores.into_iter().map(|(peer, score)| KnownPeer {
            peer,
            addresses: Vec::new(),
            seen: Duration::ZERO,
            useful_bytes: 0,
            score,
        });
        known.extend(strangers);
        Remembered { known, banned }
    }

    /// Takes the reserved place from a peer that the configuration does not mean any more. Else whoever answers at an
    /// address without a peer id could have one for each of ever so many ids.
    pub(super) fn unkeep(&mut self, peer: &PeerId) {
        if !self.config.trusted.contains(peer) && self.kept.remove(peer) {
            self.swarm.behaviour_mut().limits.totals.release(peer);
        }
    }

    /// Peers with reserved places: those that the configuration names.
    pub(super) fn keep(&mut self, peer: PeerId) {
        if self.kept.insert(peer) {
            self.swarm.behaviour_mut().limits.totals.reserve(&peer);
        }
    }
}
