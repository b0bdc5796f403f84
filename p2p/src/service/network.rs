//! What the swarm reports.

use std::time::Instant;

use libp2p::{
    PeerId,
    core::ConnectedPoint,
    gossipsub, identify,
    metrics::Recorder,
    ping,
    swarm::{ConnectionId, DialError as SwarmDialError, SwarmEvent, dial_opts::DialOpts},
};

use super::{BehaviourEvent, Dial, Service};
use crate::{
    Acceptance, AnnouncementId, DialError, Direction, Event, GoneReason, Offence, PeerState, gossip,
    peers::{Failure, Link, Verdict},
};

/// What dials are for that Kademlia begins.
const QUERY: &str = "query";

impl Service {
    pub(super) fn on_swarm_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        self.libp2p_metrics.record(&event);
        match event {
            SwarmEvent::Behaviour(event) => self.on_behaviour_event(event),
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                self.on_connected(peer_id, connection_id, &endpoint);
            }
            SwarmEvent::ConnectionClosed { peer_id, connection_id, cause, .. } => {
                let how = cause.map_or_else(|| "closed in order".to_owned(), |cause| cause.to_string());
                self.on_disconnected(peer_id, connection_id, how);
            }
            SwarmEvent::Dialing { connection_id, .. } if !self.dials.contains_key(&connection_id) => {
                self.metrics.dial(QUERY);
            }
            SwarmEvent::OutgoingConnectionError { connection_id, peer_id, error, .. } => {
                if let Some(peer) = peer_id {
                    self.on_unreachable(peer, &error);
                }
                self.on_dial_failed(connection_id, error);
            }
            SwarmEvent::IncomingConnectionError { send_back_addr, error, .. } => {
                tracing::debug!(address = %send_back_addr, %error, "inbound connection failed");
            }
            SwarmEvent::NewListenAddr { listener_id, address } => {
                tracing::info!(%address, "listening");
                self.on_listening(listener_id, &address);
                self.publish_addresses();
            }
            SwarmEvent::ExpiredListenAddr { address, .. } => {
                tracing::warn!(%address, "no longer listening");
                self.swarm.remove_external_address(&address);
                self.publish_addresses();
            }
            SwarmEvent::ListenerClosed { addresses, reason, .. } => {
                match reason {
                    Ok(()) => tracing::debug!(?addresses, "listener closed"),
                    Err(error) => tracing::warn!(?addresses, %error, "listener closed"),
                }
                self.publish_addresses();
            }
            SwarmEvent::ListenerError { error, .. } => tracing::warn!(%error, "listener error"),
            _ => {}
        }
    }

    fn on_behaviour_event(&mut self, event: BehaviourEvent) {
        match event {
            BehaviourEvent::Identify(event) => {
                self.libp2p_metrics.record(&event);
                if let identify::Event::Received { connection_id, peer_id, info } = event {
                    self.on_identified(peer_id, connection_id, &info);
                    let protocols = info.protocols.iter().map(ToString::to_string);
                    self.table.identify(peer_id, &info.agent_version, protocols);
                }
            }
            BehaviourEvent::Ping(event) => {
                self.libp2p_metrics.record(&event);
                self.on_ping(event);
            }
            BehaviourEvent::Gossip(event) => {
                self.libp2p_metrics.record(&event);
                self.on_gossip(event);
            }
            BehaviourEvent::Routing(event) => {
                self.libp2p_metrics.record(&event);
                self.on_routing(event);
            }
            BehaviourEvent::Mdns(event) => self.on_mdns(event),
            BehaviourEvent::Blocked(never)
            | BehaviourEvent::Limits(never)
            | BehaviourEvent::Memory(never)
            | BehaviourEvent::Streams(never) => match never {},
        }
    }

    /// A connection on which nothing comes back within libp2p's time for a ping is dead.
    fn on_ping(&mut self, event: ping::Event) {
        match event.result {
            Ok(time) => self.table.round_trip(event.peer, time),
            Err(ping::Failure::Timeout) => {
                tracing::debug!(peer = %event.peer, "connection closed: ping not answered");
                self.swarm.close_connection(event.connection);
            }
            Err(ping::Failure::Unsupported | ping::Failure::Other { .. }) => {}
        }
    }

    fn on_gossip(&mut self, event: gossipsub::Event) {
        match event {
            gossipsub::Event::Message { propagation_source, message_id, message } => {
                self.announcements.note(message_id.clone());
                let id = AnnouncementId { message: message_id, source: propagation_source };
                self.on_announcement(id, &message);
            }
            // Told once in a second of who does not read what is sent.
            gossipsub::Event::SlowPeer { peer_id, .. } => self.charge(peer_id, Offence::SlowReader),
            gossipsub::Event::Subscribed { .. }
            | gossipsub::Event::Unsubscribed { .. }
            | gossipsub::Event::GossipsubNotSupported { .. } => {}
        }
    }

    fn on_announcement(&mut self, id: AnnouncementId, message: &gossipsub::Message) {
        let source = id.source;
        if !self.limiter.announcement(source) {
            self.judge(&id, Acceptance::Ignore);
            self.charge(source, Offence::TooManyAnnouncements);
            return;
        }
        let Some(decided) = gossip::decode(message) else {
            self.judge(&id, Acceptance::Reject);
            return;
        };
        self.metrics.announcement("received");
        let event = Event::Announcement { message: id, source, decided };
        if let Some(dropped) = self.events.send(event) {
            self.metrics.announcement("dropped");
            self.judge(&dropped, Acceptance::Ignore);
        }
    }

    /// Passes a judgement to gossip, and charges the sender of what was rejected.
    pub(super) fn judge(&mut self, id: &AnnouncementId, acceptance: Acceptance) {
        let fate = match acceptance {
            Acceptance::Accept => "accepted",
            Acceptance::Reject => "rejected",
            Acceptance::Ignore => "ignored",
        };
        self.metrics.announcement(fate);
        let gossip = &mut self.swarm.behaviour_mut().gossip;
        gossip.report_message_validation_result(&id.message, &id.source, acceptance.into());
        if acceptance == Acceptance::Accept {
            self.planner.heard(&id.source);
        }
        if acceptance == Acceptance::Reject {
            self.charge(id.source, Offence::InvalidAnnouncement);
        }
    }

    fn on_connected(&mut self, peer: PeerId, connection: ConnectionId, endpoint: &ConnectedPoint) {
        let now = Instant::now();
        match self.dials.remove(&connection) {
            Some(Dial::Target(number)) => {
                if let Some(former) = self.dialer.reached(number, peer) {
                    self.unkeep(&former);
                }
                self.keep(peer);
            }
            Some(Dial::Boot(number)) => drop(self.boots.reached(number, peer)),
            Some(Dial::Asked(_, reply)) => {
                // Whoever asked may have lost interest.
                let _ = reply.send(Ok(peer));
            }
            Some(Dial::Candidate(_)) | None => {}
        }
        let direction = if endpoint.is_dialer() { Direction::Outbound } else { Direction::Inbound };
        let traffic = self.swarm.behaviour().streams.traffic(connection);
        let link = Link { id: connection, address: endpoint.get_remote_address().clone(), direction, traffic };
        let handshaking = self.table.connected(peer, link, now);
        self.dialer.connected(&peer);
        self.boots.connected(&peer);
        if self.table.is_banned(&peer, now) {
            self.swarm.behaviour_mut().blocked.block_peer(peer);
        } else if handshaking && direction == Direction::Outbound {
            self.tell_status(peer);
        }
    }

    fn on_disconnected(&mut self, peer: PeerId, connection: ConnectionId, how: String) {
        let now = Instant::now();
        let Some(state) = self.table.disconnected(peer, connection, now) else { return };
        let reason = self.farewells.remove(&peer).unwrap_or(GoneReason::Closed(how));
        tracing::debug!(%peer, ?state, ?reason, "peer gone");
        let why = match reason {
            GoneReason::Goodbye(word) | GoneReason::Disconnected(word) => super::peers::failure_of(word),
            GoneReason::Closed(_) => Failure::Unreachable,
        };
        self.dialer.gone(&peer, why, now, rand::random());
        self.boots.gone(&peer, why, now, rand::random());
        self.on_lost(peer, &reason, now);
        match state {
            PeerState::Ready | PeerState::Leaving(_) => drop(self.events.send(Event::PeerGone { peer, reason })),
            PeerState::Handshaking | PeerState::Gone => {}
        }
        self.count_peers(now);
    }

    fn on_dial_failed(&mut self, connection: ConnectionId, error: SwarmDialError) {
        let purpose = self.dials.remove(&connection);
        self.metrics.dial_failed(purpose.as_ref().map_or(QUERY, Dial::name));
        match purpose {
            Some(Dial::Target(number)) => {
                tracing::debug!(%error, "a configured peer cannot be reached");
                self.dialer.failed(number, Instant::now(), rand::random());
            }
            Some(Dial::Boot(number)) => {
                tracing::debug!(%error, "a boot node cannot be reached");
                self.boots.failed(number, Instant::now(), rand::random());
            }
            Some(Dial::Asked(address, reply)) => {
                let _ = reply.send(Err(DialError::Failed { address, source: error }));
            }
            Some(Dial::Candidate(peer)) => tracing::trace!(%peer, %error, "a candidate cannot be reached"),
            None => {}
        }
    }

    /// Begins a dial, whose end is reported by the swarm.
    pub(super) fn dial(&mut self, options: DialOpts, purpose: Dial) {
        let (connection, peer) = (options.connection_id(), options.get_peer_id());
        self.metrics.dial(purpose.name());
        self.dials.insert(connection, purpose);
        if let Err(error) = self.swarm.dial(options) {
            if let Some(peer) = peer {
                self.on_unreachable(peer, &error);
            }
            self.on_dial_failed(connection, error);
        }
    }

    /// Charges an offence and does what follows.
    pub(super) fn charge(&mut self, peer: PeerId, offence: Offence) {
        let now = Instant::now();
        self.metrics.offence(offence);
        let verdict = self.table.report(peer, offence, now);
        tracing::debug!(%peer, offence = offence.name(), ?verdict, "offence");
        match verdict {
            Verdict::Keep => {}
            Verdict::Disconnect => self.leave(peer, lapis_protocol_spec::GoodbyeReason::Fault),
            Verdict::Ban { .. } => self.ban(peer),
        }
        self.count_peers(now);
    }
}
