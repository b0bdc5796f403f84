//! What the scheduler believes of each source: claims, capacity, and what it was found not to have.
//!
//! Claims are hints. They say whom it makes sense to ask; a claim that is not served shrinks. Capacity (how fast) is
//! kept apart from trust (how honest), which for peers the network layer owns.
//!
//! Peers come first: an archive may be slow, and cost money. It is asked for a height only while no peer is
//! [able](Source::is_able) to serve it: none claims it, or each that does has just failed to deliver it or is paused. A
//! peer that is merely busy is waited for. So an archive never takes from peers what they can deliver, and peers that
//! claim what they do not have keep nothing from an archive for longer than one exchange.

mod wanted;

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use lapis_protocol_spec::{Height, HeightRanges, Method, Status};
use libp2p::PeerId;
use rand::Rng;

pub(super) use self::wanted::{Need, Wanted};
use super::{
    action::{Outcome, SourceId},
    claims::{Claims, Kind},
    source::{Delivery, Pace, PeerCapacity, Source},
};
use crate::sync::archive::ArchiveId;

/// Where there is a choice, every so many requests one goes to somebody of whom nothing is known.
const EXPLORE_ONE_IN: u32 = 16;
/// Nobody is expected to take too long who takes no longer than this, in seconds.
const SOON: f64 = 0.5;
/// Peers that went and are remembered, should they come back.
const MAX_DEPARTED: usize = 256;

/// All peers that finished the handshake, and all archives.
#[derive(Debug, Default)]
pub(super) struct SourceBook {
    sources: BTreeMap<SourceId, Source>,
    /// Those that went, the latest last: going and coming back makes nobody a stranger.
    departed: VecDeque<(SourceId, Source)>,
}

impl SourceBook {
    /// Adds a peer or takes its newer status.
    pub(super) fn update_peer(&mut self, id: PeerId, status: Status) {
        let id = SourceId::Peer(id);
        let announced = match self.sources.get(&id).map(|known| &known.claims) {
            Some(Claims::Peer { announced, .. }) => *announced,
            Some(Claims::Archive(_)) | None => 0,
        };
        self.update(id, Claims::Peer { status, announced });
    }

    /// Adds an archive or takes its newer coverage.
    pub(super) fn update_archive(&mut self, id: ArchiveId, held: HeightRanges) {
        self.update(SourceId::Archive(id), Claims::Archive(held));
    }

    fn update(&mut self, id: SourceId, claims: Claims) {
        if let Some(source) = self.sources.get_mut(&id) {
            return source.update(claims);
        }
        let back = self.departed.iter().position(|(departed, _)| *departed == id);
        let source = match back.and_then(|place| self.departed.remove(place)) {
            Some((_, mut source)) => {
                source.update(claims);
                source
            }
            None => Source::new(claims),
        };
        self.sources.insert(id, source);
    }

    /// A source is gone.
    pub(super) fn remove(&mut self, id: SourceId) {
        let Some(source) = self.sources.remove(&id) else { return };
        self.departed.push_back((id, source));
        if self.departed.len() > MAX_DEPARTED {
            self.departed.pop_front();
        }
    }

    /// The peer `id` announced that `height` is decided.
    pub(super) fn announced(&mut self, id: PeerId, height: Height) {
        let source = self.sources.get_mut(&SourceId::Peer(id));
        if let Some(Claims::Peer { announced, .. }) = source.map(|source| &mut source.claims) {
            *announced = height.max(*announced);
        }
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = (SourceId, &Source)> {
        self.sources.iter().map(|(id, source)| (*id, source))
    }

    fn peers(&self) -> impl Iterator<Item = &Source> {
        self.sources.iter().filter(|(id, _)| id.is_peer()).map(|(_, peer)| peer)
    }

    fn archives(&self) -> impl Iterator<Item = &Source> {
        self.sources.iter().filter(|(id, _)| !id.is_peer()).map(|(_, archive)| archive)
    }

    /// Peers with their names.
    pub(super) fn peers_with_ids(&self) -> impl Iterator<Item = (PeerId, &Source)> {
        self.sources.iter().filter_map(|(id, source)| match id {
            SourceId::Peer(peer) => Some((*peer, source)),
            SourceId::Archive(_) | SourceId::Pool => None,
        })
    }

    /// Number of peers.
    pub(super) fn peer_count(&self) -> usize {
        self.peers().count()
    }

    /// What each peer was measured to deliver.
    pub(super) fn capacities(&self) -> Vec<PeerCapacity> {
        let capacity = |(id, source): (&SourceId, &Source)| match id {
            SourceId::Peer(peer) => Some(source.capacity(*peer)),
            SourceId::Archive(_) | SourceId::Pool => None,
        };
        self.sources.iter().filter_map(capacity).collect()
    }

    /// One source.
    pub(super) fn source(&self, id: SourceId) -> Option<&Source> {
        self.sources.get(&id)
    }

    /// Whether any peer claims `kind` at `height`, busy or not, and has not shown that it will not serve it.
    pub(super) fn any_peer_promises(&self, kind: Kind, height: Height) -> bool {
        self.peers().any(|peer| peer.is_promising(kind, height))
    }

    /// Whether any archive claims `height`, busy or not.
    pub(super) fn any_archive_claims(&self, kind: Kind, height: Height) -> bool {
        self.archives().any(|archive| archive.claims.covers(kind, height))
    }

    /// Whether anybody who claims `kind` at `height` is able to serve it now.
    pub(super) fn anyone_is_able(&self, kind: Kind, height: Height, now: Instant) -> bool {
        self.sources.values().any(|source| source.is_able(kind, height, now))
    }

    /// Whether it is for archives to serve `kind` at `height` now: no peer is able to.
    pub(super) fn is_for_archives(&self, kind: Kind, height: Height, now: Instant) -> bool {
        !self.peers().any(|peer| peer.is_able(kind, height, now))
    }

    /// Whether a peer that claims `kind` at `height`, and is not known to lack it, can be asked for it by `method` now.
    pub(super) fn a_fresh_peer_is_free(&self, kind: Kind, height: Height, method: Method, now: Instant) -> bool {
        let fits = |peer: &Source| peer.is_able(kind, height, now) && peer.is_free(method, now);
        self.peers().any(|peer| fits(peer) && !peer.has_lacked(height))
    }

    /// Whether it makes sense to ask `id` for `kind` at `height` now.
    pub(super) fn may_serve(&self, id: SourceId, kind: Kind, height: Height, now: Instant) -> bool {
        let may_serve = self.source(id).is_some_and(|source| source.may_serve(kind, height, now));
        may_serve && (id.is_peer() || self.is_for_archives(kind, height, now))
    }

    /// Whether anyone can be asked for something by one of `methods` now, an archive for what `height` lacks.
    pub(super) fn anyone_is_free(&self, methods: &[Method], height: Height, now: Instant) -> bool {
        let free = |source: &Source| methods.iter().any(|method| source.is_free(*method, now));
        let for_archives = || [Kind::Payloads, Kind::Blobs].iter().any(|kind| self.is_for_archives(*kind, height, now));
        self.peers().any(free) || (self.archives().any(free) && for_archives())
    }

    /// The height that the network seems to have reached: the median of the peers' claims, the lower one of two.
    ///
    /// A minority of liars cannot move it beyond what honest peers claim. Progress displays depend on it, and whether the
    /// pool is asked for a height; nothing else does.
    /// Archives are no voices of the network: they count where there are no peers, with what attaches to `decided`.
    pub(super) fn corroborated_head(&self, decided: Height) -> Height {
        let claimed = |peer: &Source| match &peer.claims {
            Claims::Peer { status, .. } => Some(status.decided_height),
            Claims::Archive(_) => None,
        };
        let mut claims: Vec<Height> = self.peers().filter_map(claimed).collect();
        if claims.is_empty() {
            return self.archived_head(decided);
        }
        claims.sort_unstable_by(|a, b| b.cmp(a));
        claims.get(claims.len() / 2).copied().unwrap_or(0)
    }

    /// The highest height up to which the archives together claim every one above `decided`.
    fn archived_head(&self, decided: Height) -> Height {
        let mut head = decided;
        // Each round gets at least one range further in one archive.
        while let Some(further) = self.archives().map(|archive| archive.claims.last_value(head.saturating_add(1))).max()
            && further > head
        {
            head = further;
        }
        head
    }

    /// Chooses whom to ask: two of the candidates at random, the better of them by expected completion. The candidates
    /// are peers that claim what is wanted; if none is able to serve it archives that do, or else peers that may have
    /// parts of it.
    pub(super) fn choose(&self, wanted: &Wanted, now: Instant, rng: &mut impl Rng) -> Option<SourceId> {
        let Wanted { kind, height, .. } = *wanted;
        let mut candidates = self.among(wanted, now, |id, source| id.is_peer() && source.claims.covers(kind, height));
        if candidates.is_empty() && self.is_wanted_of_archives(wanted, now) {
            candidates = self.among(wanted, now, |id, source| !id.is_peer() && source.claims.covers(kind, height));
            if candidates.is_empty() {
                candidates = self.among(wanted, now, |_, source| source.claims.may_have_parts(kind, height));
            }
        }
        let (known, unknown): (Vec<_>, Vec<_>) =
            candidates.into_iter().partition(|(_, source)| wanted.is_content_with(source, now));
        let may_explore = self.may_explore(wanted, now);
        let unknown = if may_explore { unknown } else { Vec::new() };
        if !known.is_empty() && !unknown.is_empty() && rng.random_ratio(1, EXPLORE_ONE_IN) {
            return unknown.get(rng.random_range(0..unknown.len())).map(|(id, _)| *id);
        }
        let bound = self.longest_among(wanted, may_explore, now);
        let is_swift = |source: &Source| !source.pace().is_measured() || source.expected(wanted.bytes) <= bound;
        let mut pool: Vec<_> = known.into_iter().filter(|(_, source)| is_swift(source)).collect();
        if pool.is_empty() {
            pool.extend(unknown.into_iter().filter(|(_, source)| is_swift(source)));
        }
        two_choices(&pool, wanted.bytes, rng)
    }

    /// Those that are able to serve what is wanted, and in turn for it: archives are where no peer is able to. Whoever waits
    /// for one that is not in turn waits for ever, and for one that is stuck perhaps very long.
    fn able(&self, wanted: &Wanted, now: Instant) -> impl Iterator<Item = &Source> {
        let Wanted { kind, height, method, except, .. } = *wanted;
        let is_for_archives = self.is_wanted_of_archives(wanted, now);
        let is_in_turn = move |id: SourceId| except != Some(id) && (id.is_peer() || is_for_archives);
        let in_turn = self.sources.iter().filter(move |(id, _)| is_in_turn(**id)).map(|(_, source)| source);
        let is_able = move |source: &Source| source.is_able(kind, height, now) && source.knows(method);
        in_turn.filter(move |source| is_able(source) && !source.is_stuck(method, now))
    }

    /// Whether it is for archives to serve what is wanted. Sets go with values, and have a method of their own.
    fn is_wanted_of_archives(&self, wanted: &Wanted, now: Instant) -> bool {
        let Wanted { kind, height, method, .. } = *wanted;
        !self.peers().any(|peer| peer.is_able(kind, height, now) && peer.knows(method))
    }

    /// How long whoever is drawn may be expected to take. Infinite where nobody can be drawn who has delivered before.
    pub(super) fn longest(&self, wanted: &Wanted, now: Instant) -> Duration {
        let seconds = self.longest_among(wanted, self.may_explore(wanted, now), now);
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
    }

    /// The same in seconds. Speed varies over orders of magnitude, and of two draws both may be slow: rather than to ask
    /// somebody who would take much longer than the best of those who are able, it is waited for these to be free.
    /// Whoever is late with it is no reason to wait, nor is anybody who would not be drawn then either.
    fn longest_among(&self, wanted: &Wanted, may_explore: bool, now: Instant) -> f64 {
        let may_be_drawn = |source: &&Source| may_explore || wanted.is_content_with(source, now);
        let measured = self.able(wanted, now).filter(|source| source.pace().has_delivered()).filter(may_be_drawn);
        let expected = measured.map(|source| source.expected(wanted.bytes));
        (expected.fold(f64::INFINITY, f64::min) * wanted.need.much_longer()).max(SOON)
    }

    fn among(
        &self,
        wanted: &Wanted,
        now: Instant,
        serves: impl Fn(SourceId, &Source) -> bool,
    ) -> Vec<(SourceId, &Source)> {
        let has_room = |source: &Source| {
            let is_soon_free = || source.pace().is_measured() && source.expected(wanted.bytes) <= SOON;
            source.room() >= wanted.bytes || source.is_idle() || wanted.need == Need::Urgent && is_soon_free()
        };
        let fits = |id: SourceId, source: &Source| {
            serves(id, source)
                && wanted.except != Some(id)
                && source.is_free(wanted.method, now)
                && has_room(source)
                && !source.lacked_lately(wanted.height, now)
                && source.speaks(wanted.kind)
        };
        self.sources.iter().map(|(id, source)| (*id, source)).filter(|(id, source)| fits(*id, source)).collect()
    }

    /// Whether somebody may be asked of whom nothing is known: without bound if nobody else is able to serve it.
    fn may_explore(&self, wanted: &Wanted, now: Instant) -> bool {
        let unknown = self.sources.values().filter(|source| !source.is_known(now));
        let in_flight: u64 = unknown.map(Source::in_flight_bytes).sum();
        let is_known = || self.able(wanted, now).any(|source| source.is_known(now));
        in_flight.saturating_add(wanted.bytes).max(1) <= wanted.exploration_room || !is_known()
    }

    /// How long `id` may take for an item of `bytes` before it is late with it: what it has shown itself, and no more than
    /// twice what is usual.
    pub(super) fn patience(&self, id: SourceId, bytes: u64) -> Duration {
        let usual = self.patience_without(id, bytes);
        match self.sources.get(&id) {
            Some(source) if source.pace().has_delivered() => {
                source.pace().patience(bytes, source.open()).min(usual.saturating_mul(2))
            }
            Some(_) | None => usual,
        }
    }

    /// What is usual among those that are known, `id` apart: whoever is late has no say in what late is. Of somebody
    /// unknown no more is to be expected.
    pub(super) fn patience_without(&self, id: SourceId, bytes: u64) -> Duration {
        let others = self.sources.iter().filter(|(other, source)| **other != id && source.pace().has_delivered());
        let mut usual: Vec<Duration> = others.map(|(_, source)| source.pace().patience(bytes, source.open())).collect();
        usual.sort_unstable();
        let median = usual.get(usual.len().saturating_sub(1) / 2).copied();
        median.unwrap_or_else(|| Pace::default().patience(bytes, 1))
    }

    /// An exchange starts.
    pub(super) fn started(&mut self, id: SourceId, method: Method, bytes: u64, now: Instant) {
        if let Some(source) = self.sources.get_mut(&id) {
            source.started(method, bytes, now);
        }
    }

    /// An item arrived.
    pub(super) fn received(&mut self, id: SourceId, arrival: Arrival, now: Instant) {
        if let Some(source) = self.known_mut(id) {
            source.received(arrival.bytes, arrival.reserved, arrival.waited, now);
        }
    }

    /// What it sent fails verification.
    pub(super) fn sent_garbage(&mut self, id: SourceId, now: Instant) {
        if let Some(source) = self.known_mut(id) {
            source.sent_garbage(now);
        }
    }

    /// An exchange ended.
    pub(super) fn ended(&mut self, id: SourceId, method: Method, delivery: Delivery, now: Instant) {
        if let Some(source) = self.known_mut(id) {
            source.ended(method, delivery, now);
        }
    }

    /// A source that is here, or was.
    fn known_mut(&mut self, id: SourceId) -> Option<&mut Source> {
        match self.sources.get_mut(&id) {
            Some(source) => Some(source),
            None => self.departed.iter_mut().find(|(departed, _)| *departed == id).map(|(_, source)| source),
        }
    }

    /// It did not deliver something of `height`: it is not asked for that again for a while.
    pub(super) fn lacks(&mut self, id: SourceId, height: Height, outcome: Outcome, now: Instant) {
        if let Some(source) = self.known_mut(id) {
            source.lack(height, outcome, now);
        }
    }

    /// It claimed decided values that it did not serve: the claim shrinks to `held`.
    pub(super) fn shrink_values(&mut self, id: SourceId, held: Height) {
        if let Some(source) = self.sources.get_mut(&id) {
            source.claims.shrink_values(held);
        }
    }

    /// `height` is complete: nothing about it needs to be remembered.
    pub(super) fn forget_height(&mut self, height: Height) {
        self.sources.values_mut().for_each(|source| source.forget(height));
    }
}

/// An item as far as capacity is concerned.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    pub(super) bytes: u64,
    /// Bytes that were in flight for it.
    pub(super) reserved: u64,
    /// Since the request, if it is the first item of its exchange.
    pub(super) waited: Option<Duration>,
}

/// Of two of `pool` at random the one that is expected to bring `bytes` bytes sooner.
pub(super) fn two_choices(pool: &[(SourceId, &Source)], bytes: u64, rng: &mut impl Rng) -> Option<SourceId> {
    if pool.is_empty() {
        return None;
    }
    let first = pool.get(rng.random_range(0..pool.len()))?;
    let second = pool.get(rng.random_range(0..pool.len()))?;
    let better = if first.1.expected(bytes) <= second.1.expected(bytes) { first } else { second };
    Some(better.0)
}
