//! What others are told of the table: discovery, the next run, and people who ban by hand.

use std::{
    collections::{HashMap, HashSet},
    time::Instant,
};

use lapis_protocol_spec::Status;
use libp2p::{Multiaddr, PeerId, swarm::ConnectionId};

use super::{Phase, Record, Table};
use crate::{
    Ban,
    discovery::Held,
    peers::{Direction, Score},
};

impl Table {
    /// Connected peers that are to stay so, against `ours`, what this node says of itself.
    pub(crate) fn held(&self, ours: &Status, now: Instant, kept: impl Fn(&PeerId) -> bool) -> Vec<Held> {
        let held = self.records.iter().filter(|(_, record)| record.is_held());
        let view = held.map(|(peer, record)| {
            let (bytes_in, bytes_out) = record.live_bytes();
            let address = record.dialed_at().cloned();
            Held {
                peer: *peer,
                direction: if address.is_some() { Direction::Outbound } else { Direction::Inbound },
                address,
                kept: record.trusted || kept(peer),
                bytes_in,
                bytes_out,
                score: record.score.value(now, &self.rules.scores),
                ahead: record.status.is_some_and(|theirs| is_ahead(&theirs, ours)),
            }
        });
        view.collect()
    }

    /// The other end of one connection.
    pub(crate) fn address_of(&self, peer: &PeerId, connection: ConnectionId) -> Option<&Multiaddr> {
        let links = &self.records.get(peer)?.links;
        links.iter().find(|link| link.id == connection).map(|link| &link.address)
    }

    /// Where this node dialed a peer that is connected.
    pub(crate) fn dialed_at(&self, peer: &PeerId) -> Option<&Multiaddr> {
        self.records.get(peer).and_then(Record::dialed_at)
    }

    /// Peers that are banned or connected.
    pub(crate) fn unavailable(&self, now: Instant) -> HashSet<PeerId> {
        let unavailable =
            self.records.iter().filter(|(_, record)| record.phase != Phase::Gone || record.is_banned(now));
        unavailable.map(|(peer, _)| *peer).collect()
    }

    /// Scores and bans that are worth keeping over a restart.
    pub(crate) fn remembered(&self, now: Instant) -> (HashMap<PeerId, f64>, Vec<Ban>) {
        let (mut scores, mut bans) = (HashMap::new(), Vec::new());
        for (peer, record) in &self.records {
            let score = record.score.value(now, &self.rules.scores);
            if score <= -1.0 {
                scores.insert(*peer, score);
            }
            let left = record.banned_until.and_then(|until| until.checked_duration_since(now));
            bans.extend(left.filter(|left| !left.is_zero()).map(|left| Ban { peer: *peer, left }));
        }
        bans.sort_by_key(|ban| ban.peer);
        (scores, bans)
    }

    /// Takes up the score of an earlier run.
    pub(crate) fn restore_score(&mut self, peer: PeerId, score: f64, now: Instant) {
        let rules = &self.rules;
        let worth_it = score <= -1.0 && score.is_finite() && !rules.trusted.contains(&peer);
        if worth_it && (self.records.contains_key(&peer) || self.records.len() < rules.remembered) {
            let score = Score::restored(score, now, &rules.scores);
            self.records.entry(peer).or_insert_with(|| Record::new(now, false)).score = score;
        }
    }

    /// Bans a peer by hand. `false` if it is trusted: then the configuration has to change first.
    pub(crate) fn ban(&mut self, peer: PeerId, until: Instant, now: Instant) -> bool {
        if self.rules.trusted.contains(&peer) {
            return false;
        }
        self.records.entry(peer).or_insert_with(|| Record::new(now, false)).banned_until = Some(until);
        self.forget_surplus(now);
        true
    }

    /// Lifts a ban and gives the peer a fresh start: with the score that led to the ban, the next trifle would be one
    /// again. Whether there was a ban.
    pub(crate) fn unban(&mut self, peer: &PeerId, now: Instant) -> bool {
        let Some(record) = self.records.get_mut(peer) else { return false };
        let was_banned = record.banned_until.take().is_some();
        if was_banned {
            record.score = Score::new(now);
        }
        was_banned
    }
}

/// Whether `theirs` claims anything that `ours` does not.
fn is_ahead(theirs: &Status, ours: &Status) -> bool {
    let reaches_back = |theirs: u64, ours: u64| theirs != 0 && (ours == 0 || theirs < ours);
    theirs.decided_height > ours.decided_height
        || theirs.available_height > ours.available_height
        || reaches_back(theirs.earliest_blob_height, ours.earliest_blob_height)
}

#[cfg(test)]
mod tests;
