//! One peer.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use lapis_protocol_spec::{GoodbyeReason, Status};
use libp2p::{Multiaddr, PeerId, swarm::ConnectionId};

use super::{ConnectionInfo, Direction, LastFault, Offence, PeerInfo, PeerState, Score, ScoreRules};
use crate::streams::Traffic;

/// Most protocol ids that are kept of a peer, and most characters of each and of its agent.
const KEPT_PROTOCOLS: usize = 64;
const KEPT_CHARACTERS: usize = 128;

/// One established connection.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) id: ConnectionId,
    pub(crate) address: Multiaddr,
    pub(crate) direction: Direction,
    pub(crate) traffic: Arc<Traffic>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Statuses are to be exchanged until then.
    Handshaking {
        until: Instant,
    },
    Ready,
    /// Goodbye is said; until then the connection is closed.
    Leaving {
        until: Instant,
        reason: GoodbyeReason,
    },
    /// No connection.
    Gone,
}

/// When our status is sent next.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct StatusSending {
    /// Ours has changed since it was sent.
    pub(super) stale: bool,
    pub(super) in_flight: bool,
    pub(super) last: Option<Instant>,
}

#[derive(Debug)]
pub(super) struct Record {
    pub(super) links: Vec<Link>,
    pub(super) phase: Phase,
    pub(super) status: Option<Status>,
    pub(super) sending: StatusSending,
    pub(super) score: Score,
    pub(super) trusted: bool,
    pub(super) banned_until: Option<Instant>,
    pub(super) last_fault: Option<(Offence, Instant)>,
    /// The connection to a ready peer was lost, not by our doing. Until then what broke with it counts, once.
    pub(super) cut: Option<Instant>,
    agent: Option<String>,
    protocols: Vec<String>,
    pub(super) round_trip: Option<Duration>,
    /// Of connections that are closed.
    past_bytes: (u64, u64),
}

impl Record {
    pub(super) fn new(now: Instant, trusted: bool) -> Self {
        Self {
            links: Vec::new(),
            phase: Phase::Gone,
            status: None,
            sending: StatusSending::default(),
            score: Score::new(now),
            trusted,
            banned_until: None,
            last_fault: None,
            cut: None,
            agent: None,
            protocols: Vec::new(),
            round_trip: None,
            past_bytes: (0, 0),
        }
    }

    /// Forgets a closed connection. Whether it was the last.
    pub(super) fn unlink(&mut self, id: ConnectionId) -> bool {
        let Some(position) = self.links.iter().position(|link| link.id == id) else { return false };
        let link = self.links.swap_remove(position);
        let (received, sent) = link.traffic.bytes();
        self.past_bytes = (self.past_bytes.0.saturating_add(received), self.past_bytes.1.saturating_add(sent));
        self.links.is_empty()
    }

    pub(super) fn identify(&mut self, agent: &str, protocols: impl Iterator<Item = String>) {
        self.agent = Some(agent.chars().take(KEPT_CHARACTERS).collect());
        self.protocols = protocols.filter(|name| name.len() <= KEPT_CHARACTERS).take(KEPT_PROTOCOLS).collect();
    }

    /// Connected, and to stay so.
    pub(super) const fn is_held(&self) -> bool {
        matches!(self.phase, Phase::Handshaking { .. } | Phase::Ready)
    }

    /// Where this node dialed it.
    pub(super) fn dialed_at(&self) -> Option<&Multiaddr> {
        self.links.iter().find(|link| link.direction == Direction::Outbound).map(|link| &link.address)
    }

    /// Received and sent in exchanges, over the connections that are open.
    pub(super) fn live_bytes(&self) -> (u64, u64) {
        self.bytes_beyond((0, 0))
    }

    fn bytes_beyond(&self, past: (u64, u64)) -> (u64, u64) {
        let live = self.links.iter().map(|link| link.traffic.bytes());
        live.fold(past, |(received, sent), (more_received, more_sent)| {
            (received.saturating_add(more_received), sent.saturating_add(more_sent))
        })
    }

    pub(super) fn is_banned(&self, now: Instant) -> bool {
        self.banned_until.is_some_and(|until| until > now)
    }

    /// Whether there is anything worth keeping of a peer that is gone.
    pub(super) fn is_memorable(&self, now: Instant, rules: &ScoreRules) -> bool {
        let is_cut = self.cut.is_some_and(|until| until > now);
        self.banned_until.is_some() || is_cut || self.score.value(now, rules) <= -1.0
    }

    pub(super) fn info(&self, peer: PeerId, now: Instant, rules: &ScoreRules) -> PeerInfo {
        let (bytes_in, bytes_out) = self.bytes_beyond(self.past_bytes);
        PeerInfo {
            peer,
            state: match self.phase {
                Phase::Handshaking { .. } => PeerState::Handshaking,
                Phase::Ready => PeerState::Ready,
                Phase::Leaving { reason, .. } => PeerState::Leaving(reason),
                Phase::Gone => PeerState::Gone,
            },
            connections: self
                .links
                .iter()
                .map(|link| ConnectionInfo { address: link.address.clone(), direction: link.direction })
                .collect(),
            status: self.status,
            score: self.score.value(now, rules),
            trusted: self.trusted,
            agent: self.agent.clone(),
            protocols: self.protocols.clone(),
            round_trip: self.round_trip,
            bytes_in,
            bytes_out,
            last_fault: self
                .last_fault
                .map(|(offence, at)| LastFault { offence, ago: now.saturating_duration_since(at) }),
            banned_for: self.banned_until.and_then(|until| until.checked_duration_since(now)),
        }
    }
}
