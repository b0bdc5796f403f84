//! All peers: who is connected, ready, leaving, banned. The only owner of that knowledge.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use lapis_protocol_spec::{Bytes32, GoodbyeReason, Status};
use libp2p::{PeerId, swarm::ConnectionId};

use super::{
    Link, Offence, PeerInfo, ScoreRules, Verdict,
    record::{Phase, Record, StatusSending},
};

/// What the table goes by.
#[derive(Clone, Debug)]
pub(crate) struct TableRules {
    pub(crate) genesis_id: Bytes32,
    pub(crate) scores: ScoreRules,
    pub(crate) handshake: Duration,
    pub(crate) goodbye: Duration,
    /// Shortest time between two of our statuses to one peer.
    pub(crate) status_interval: Duration,
    /// Most peers that are remembered while they are gone.
    pub(crate) remembered: usize,
    pub(crate) trusted: HashSet<PeerId>,
}

/// What a peer's status leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StatusOutcome {
    /// The first one, of our chain.
    Ready,
    /// News of a ready peer.
    Updated,
    /// Nothing new.
    Same,
    /// Of another chain.
    WrongNetwork,
    /// The peer is not connected, or leaving.
    Ignored,
}

/// What time has brought about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expiry {
    /// A peer did not exchange statuses in time.
    Handshake(PeerId),
    /// A peer to which goodbye was said is still connected.
    Goodbye(PeerId),
    /// A ban is over, or was forgotten for newer ones.
    Ban(PeerId),
}

/// How long after a lost connection exchanges are told of that broke with it.
const AFTERMATH: Duration = Duration::from_secs(60);

/// Every peer that is connected or remembered.
#[derive(Debug)]
pub(crate) struct Table {
    rules: TableRules,
    records: HashMap<PeerId, Record>,
    /// Peers that were forgotten while they were banned.
    lifted: Vec<PeerId>,
}

impl Table {
    pub(crate) fn new(rules: TableRules) -> Self {
        Self { rules, records: HashMap::new(), lifted: Vec::new() }
    }

    /// Notes a new connection. Whether statuses are still to be exchanged with the peer.
    pub(crate) fn connected(&mut self, peer: PeerId, link: Link, now: Instant) -> bool {
        let trusted = self.rules.trusted.contains(&peer);
        let record = self.records.entry(peer).or_insert_with(|| Record::new(now, trusted));
        record.links.push(link);
        if record.phase == Phase::Gone {
            record.phase = Phase::Handshaking { until: now + self.rules.handshake };
            record.status = None;
            record.sending = StatusSending::default();
        }
        matches!(record.phase, Phase::Handshaking { .. })
    }

    /// Notes a closed connection. The state that the peer was in, if it was its last.
    pub(crate) fn disconnected(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        now: Instant,
    ) -> Option<super::PeerState> {
        let record = self.records.get_mut(&peer)?;
        if !record.unlink(connection) {
            return None;
        }
        let state = record.info(peer, now, &self.rules.scores).state;
        if record.phase == Phase::Ready {
            record.cut = Some(now + AFTERMATH);
        }
        record.phase = Phase::Gone;
        if !record.is_memorable(now, &self.rules.scores) {
            self.records.remove(&peer);
        }
        self.forget_surplus(now);
        Some(state)
    }

    /// Takes what a peer says of itself.
    pub(crate) fn status(&mut self, peer: PeerId, status: Status) -> StatusOutcome {
        let genesis_id = self.rules.genesis_id;
        let Some(record) = self.records.get_mut(&peer) else { return StatusOutcome::Ignored };
        let outcome = match record.phase {
            Phase::Gone | Phase::Leaving { .. } => return StatusOutcome::Ignored,
            _ if status.genesis_id != genesis_id => return StatusOutcome::WrongNetwork,
            Phase::Handshaking { .. } => StatusOutcome::Ready,
            Phase::Ready if record.status == Some(status) => StatusOutcome::Same,
            Phase::Ready => StatusOutcome::Updated,
        };
        record.phase = Phase::Ready;
        record.status = Some(status);
        outcome
    }

    /// Charges an offence. Of trusted peers it is only noted. What breaks while a peer is left, or after, is nobody's
    /// fault, and does not hide why it was left. If the connection was lost without our doing, the first thing that broke
    /// with it counts: all that broke is one break.
    pub(crate) fn report(&mut self, peer: PeerId, offence: Offence, now: Instant) -> Verdict {
        if offence.is_unclear() && !self.is_held(&peer) {
            let cut = self.records.get_mut(&peer).and_then(|record| record.cut.take());
            if cut.is_none_or(|until| until <= now) {
                return Verdict::Keep;
            }
        }
        let trusted = self.rules.trusted.contains(&peer);
        let record = self.records.entry(peer).or_insert_with(|| Record::new(now, trusted));
        record.last_fault = Some((offence, now));
        if record.trusted {
            return Verdict::Keep;
        }
        let verdict = record.score.charge(offence, now, &self.rules.scores);
        if let Verdict::Ban { until } = verdict {
            // One by hand may be longer.
            record.banned_until = record.banned_until.max(Some(until));
        }
        self.forget_surplus(now);
        verdict
    }

    /// Takes up a ban of an earlier run. `false` if it is not to be kept.
    pub(crate) fn restore_ban(&mut self, peer: PeerId, until: Instant, now: Instant) -> bool {
        if until <= now || self.rules.trusted.contains(&peer) || self.records.len() >= self.rules.remembered {
            return false;
        }
        self.records.entry(peer).or_insert_with(|| Record::new(now, false)).banned_until = Some(until);
        true
    }

    /// Begins to part from a peer. `false` if it is not connected or leaving already.
    pub(crate) fn leave(&mut self, peer: PeerId, reason: GoodbyeReason, now: Instant) -> bool {
        let until = now + self.rules.goodbye;
        match self.records.get_mut(&peer) {
            Some(record) if matches!(record.phase, Phase::Handshaking { .. } | Phase::Ready) => {
                record.phase = Phase::Leaving { until, reason };
                true
            }
            Some(_) | None => false,
        }
    }

    /// Everything whose time has come. Each is told once, except a goodbye, which is told until the peer is gone.
    pub(crate) fn expire(&mut self, now: Instant) -> Vec<Expiry> {
        let mut expired: Vec<_> = self.lifted.drain(..).map(Expiry::Ban).collect();
        for (peer, record) in &mut self.records {
            match record.phase {
                Phase::Handshaking { until } if until <= now => expired.push(Expiry::Handshake(*peer)),
                Phase::Leaving { until, .. } if until <= now => expired.push(Expiry::Goodbye(*peer)),
                Phase::Handshaking { .. } | Phase::Leaving { .. } | Phase::Ready | Phase::Gone => {}
            }
            if record.banned_until.is_some_and(|until| until <= now) {
                record.banned_until = None;
                expired.push(Expiry::Ban(*peer));
            }
        }
        let rules = &self.rules.scores;
        self.records.retain(|_, record| record.phase != Phase::Gone || record.is_memorable(now, rules));
        expired
    }

    /// Notes that our own status is another one.
    pub(crate) fn own_status_changed(&mut self) {
        for record in self.records.values_mut() {
            record.sending.stale = true;
        }
    }

    /// The peers that our status is to be sent to now; each is taken to be under way until [`Table::status_sent`].
    pub(crate) fn due_statuses(&mut self, now: Instant) -> Vec<PeerId> {
        let interval = self.rules.status_interval;
        let due = self.records.iter_mut().filter_map(|(peer, record)| {
            let sending = &mut record.sending;
            let rested = sending.last.is_none_or(|last| now.saturating_duration_since(last) >= interval);
            if record.phase != Phase::Ready || !sending.stale || sending.in_flight || !rested {
                return None;
            }
            *sending = StatusSending { stale: false, in_flight: true, last: Some(now) };
            Some(*peer)
        });
        due.collect()
    }

    /// Notes that an attempt to send our status has ended.
    pub(crate) fn status_sent(&mut self, peer: PeerId) {
        if let Some(record) = self.records.get_mut(&peer) {
            record.sending.in_flight = false;
        }
    }

    pub(crate) fn identify(&mut self, peer: PeerId, agent: &str, protocols: impl Iterator<Item = String>) {
        if let Some(record) = self.records.get_mut(&peer) {
            record.identify(agent, protocols);
        }
    }

    pub(crate) fn round_trip(&mut self, peer: PeerId, time: Duration) {
        if let Some(record) = self.records.get_mut(&peer) {
            record.round_trip = Some(time);
        }
    }

    pub(crate) fn is_banned(&self, peer: &PeerId, now: Instant) -> bool {
        self.records.get(peer).is_some_and(|record| record.is_banned(now))
    }

    pub(crate) fn is_connected(&self, peer: &PeerId) -> bool {
        self.records.get(peer).is_some_and(|record| record.phase != Phase::Gone)
    }

    fn is_held(&self, peer: &PeerId) -> bool {
        self.records.get(peer).is_some_and(Record::is_held)
    }

    pub(crate) fn ready(&self) -> impl Iterator<Item = PeerId> + '_ {
        self.records.iter().filter(|(_, record)| record.phase == Phase::Ready).map(|(peer, _)| *peer)
    }

    pub(crate) fn connected_peers(&self) -> impl Iterator<Item = PeerId> + '_ {
        self.records.iter().filter(|(_, record)| record.phase != Phase::Gone).map(|(peer, _)| *peer)
    }

    pub(crate) fn banned_count(&self, now: Instant) -> usize {
        self.records.values().filter(|record| record.is_banned(now)).count()
    }

    pub(crate) fn snapshot(&self, now: Instant) -> Vec<PeerInfo> {
        let mut peers: Vec<_> =
            self.records.iter().map(|(peer, record)| record.info(*peer, now, &self.rules.scores)).collect();
        peers.sort_by_key(|info| info.peer);
        peers
    }

    /// Keeps the number of remembered peers bounded: those without a ban go first, then those whose ban ends soonest.
    fn forget_surplus(&mut self, now: Instant) {
        let gone = self.records.values().filter(|record| record.phase == Phase::Gone).count();
        for _ in self.rules.remembered..gone {
            let rules = &self.rules.scores;
            let candidates = self.records.iter().filter(|(_, record)| record.phase == Phase::Gone);
            let rank = |record: &Record| (record.banned_until, -record.score.value(now, rules));
            let least = candidates.min_by(|(_, a), (_, b)| {
                let ((ban_a, penalty_a), (ban_b, penalty_b)) = (rank(a), rank(b));
                ban_a.cmp(&ban_b).then(penalty_a.total_cmp(&penalty_b))
            });
            let Some(peer) = least.map(|(peer, _)| *peer) else { return };
            let forgotten = self.records.remove(&peer);
            if forgotten.is_some_and(|record| record.banned_until.is_some()) {
                self.lifted.push(peer);
            }
        }
    }
}

mod memory;

#[cfg(test)]
mod tests;
