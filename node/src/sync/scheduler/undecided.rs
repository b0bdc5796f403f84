//! Data of heights that nobody claims yet, asked for by root of peers that are about to decide them.
//!
//! Validators hold the payload and the blobs of a value before it is decided. Whoever learns of the decision first finds
//! nobody who claims the height, and ranges of it are answered empty; by root undecided data is served as well. So what
//! nobody who claims it is able to give is asked, after a moment, of peers that stand just below the height. Such a
//! request names its items and is for one height. A peer that does not have them has broken no promise: that says nothing
//! of its pace or of what it will claim. It is asked for a height a few times, later and later, and no more.

use std::{
    collections::BTreeMap,
    ops::Range,
    time::{Duration, Instant},
};

use lapis_protocol_spec::{Height, Method};
use libp2p::PeerId;
use rand::Rng;

use super::{
    Flight, Scheduler,
    action::{Action, Outcome, SourceId},
    claims::Kind,
    config::{Pacing, Report},
    data::Proposal,
    source::Source,
};
use crate::back_off::doubled;

/// How far below a height a peer may stand to be asked for it: it decides one after the other, and what is known of it
/// may be a few heights old.
pub(super) const BELOW: u64 = 4;
/// Most peers decide, and say so, within this time after the first one.
const GRACE: Duration = Duration::from_millis(100);
/// Wait before a peer that did not have it is asked again; doubles.
const FIRST_WAIT: Duration = Duration::from_millis(200);
/// Requests in vain to one peer for one kind of data of a height.
const MAX_ATTEMPTS: u32 = 5;
/// Requests to all of them at a time.
const MAX_OPEN: usize = 4;
/// Attempts that are remembered. Those with peers that went make room; when there are more peers than that, the rest is not
/// asked.
const MAX_REMEMBERED: usize = 1024;

/// Requests in vain.
#[derive(Clone, Copy, Debug)]
struct Attempts {
    count: u32,
    /// The next one is made no sooner.
    after: Instant,
}

/// State of asking those who claim nothing.
#[derive(Debug, Default)]
pub(super) struct UndecidedLane {
    /// Since when nobody has been able to serve it, who claims it.
    since: BTreeMap<(Height, Kind), Instant>,
    attempts: BTreeMap<(Height, Kind, PeerId), Attempts>,
    open: usize,
}

impl UndecidedLane {
    /// Forgets all heights but these.
    fn keep(&mut self, heights: &Range<Height>) {
        self.since.retain(|(height, _), _| heights.contains(height));
        self.attempts.retain(|(height, ..), _| heights.contains(height));
    }

    /// Whether `peer` may be asked now.
    fn may_ask(&self, height: Height, kind: Kind, peer: PeerId, now: Instant) -> bool {
        match self.attempts.get(&(height, kind, peer)) {
            Some(attempts) => attempts.count < MAX_ATTEMPTS && attempts.after <= now,
            None => self.attempts.len() < MAX_REMEMBERED,
        }
    }

    fn count(&self, height: Height, kind: Kind, peer: PeerId) -> u32 {
        self.attempts.get(&(height, kind, peer)).map_or(0, |attempts| attempts.count)
    }

    fn asked(&mut self, height: Height, kind: Kind, peer: PeerId, now: Instant) {
        let attempts = self.attempts.entry((height, kind, peer)).or_insert(Attempts { count: 0, after: now });
        attempts.after = now + doubled(FIRST_WAIT, attempts.count, Duration::MAX);
        attempts.count = attempts.count.saturating_add(1);
    }
}

impl Scheduler {
    /// Asks peers that claim nothing for what nobody else gives.
    pub(super) fn poll_undecided(&mut self, now: Instant, rng: &mut impl Rng, actions: &mut Vec<Action>) {
        // One request at a time is what that pacing is about.
        if matches!(self.config.pacing, Pacing::Fixed(_)) {
            return;
        }
        let decided = self.values.decided();
        let heights = decided.saturating_sub(BELOW).saturating_add(1)..decided.saturating_add(1);
        self.undecided.keep(&heights);
        if self.undecided.attempts.len() >= MAX_REMEMBERED {
            self.undecided.attempts.retain(|(.., peer), _| self.book.source((*peer).into()).is_some());
        }
        let wanting: Vec<Height> = self.data.wanting_within(heights).collect();
        for (height, kind) in wanting.into_iter().flat_map(|height| Kind::DATA.map(|kind| (height, kind))) {
            if self.is_left_to_pool(kind, height, now) || !self.is_given_by_nobody(height, kind, now) {
                continue;
            }
            while let Some(action) = self.ask_undecided(height, kind, now, rng) {
                actions.push(action);
            }
        }
    }

    /// Whether nobody has been able to serve it for a while, of those who claim it.
    fn is_given_by_nobody(&mut self, height: Height, kind: Kind, now: Instant) -> bool {
        if self.book.anyone_is_able(kind, height, now) {
            self.undecided.since.remove(&(height, kind));
            return false;
        }
        let since = *self.undecided.since.entry((height, kind)).or_insert(now);
        now.saturating_duration_since(since) >= GRACE
    }

    fn ask_undecided(&mut self, height: Height, kind: Kind, now: Instant, rng: &mut impl Rng) -> Option<Action> {
        if self.undecided.open >= MAX_OPEN {
            return None;
        }
        let method = match kind {
            Kind::Payloads => Method::PayloadsByRoot,
            Kind::Blobs => Method::BlobsByRoot,
            Kind::Values => return None,
        };
        let most = self.config.first_room().saturating_sub(self.data.reserved()).min(self.config.max_request_bytes);
        let least = self.data.propose_by_root(kind, height, 0)?.bytes;
        if least > most && self.data.reserved() > 0 {
            return None;
        }
        let peer = self.choose_undecided(height, kind, method, least, now, rng)?;
        let room = self.book.source(peer.into())?.room();
        let Proposal { fetch, items, bytes } = self.data.propose_by_root(kind, height, most.min(room))?;
        let action = self.start(peer.into(), fetch, items, bytes, now);
        self.undecided.asked(height, kind, peer, now);
        self.undecided.open += 1;
        self.stats.unclaimed_requests += 1;
        if let Some(flight) = self.flights.get_mut(&action.id) {
            flight.is_unclaimed = true;
        }
        Some(action)
    }

    /// Any of those that were asked least often.
    fn choose_undecided(
        &self,
        height: Height,
        kind: Kind,
        method: Method,
        bytes: u64,
        now: Instant,
        rng: &mut impl Rng,
    ) -> Option<PeerId> {
        let is_free = |source: &Source| {
            source.claims.is_just_below(height, BELOW)
                && source.is_free(method, now)
                && !source.lacked_lately(height, now)
                && (source.is_idle() || source.room() >= bytes)
        };
        let peers = self.book.peers_with_ids().filter(|(_, source)| is_free(source)).map(|(peer, _)| peer);
        let peers: Vec<PeerId> = peers.filter(|peer| self.undecided.may_ask(height, kind, *peer, now)).collect();
        let count = |peer: &PeerId| self.undecided.count(height, kind, *peer);
        let least = peers.iter().map(count).min()?;
        let peers: Vec<PeerId> = peers.into_iter().filter(|peer| count(peer) == least).collect();
        peers.get(rng.random_range(0..peers.len())).copied()
    }

    /// A request to somebody who did not claim what it is for ended.
    pub(super) fn undecided_finished(&mut self, flight: &Flight, report: &Report, now: Instant) {
        self.undecided.open = self.undecided.open.saturating_sub(1);
        self.stats.unclaimed_items += report.received.len() as u64;
        let (Some(item), SourceId::Peer(peer)) = (flight.items.first(), flight.source) else { return };
        let kind = if item.is_payload() { Kind::Payloads } else { Kind::Blobs };
        let key = (item.height(), kind, peer);
        match report.outcome {
            // Whoever sends what was not asked for is no better for not having claimed it.
            Outcome::Faulty => self.book.lacks(flight.source, item.height(), Outcome::Faulty, now),
            _ if !report.received.is_empty() => drop(self.undecided.attempts.remove(&key)),
            _ => {}
        }
    }
}
