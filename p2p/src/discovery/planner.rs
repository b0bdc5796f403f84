//! What to do about the number of peers: whom to dial, when to ask boot nodes and Kademlia, who makes place.

use std::{
    collections::{HashMap, HashSet},
    time::Instant,
};

use libp2p::{Multiaddr, PeerId};
use rand::Rng;

use super::{
    address::{Neighbourhood, neighbourhood},
    book::{Book, Candidate, Proven, Setback, ago},
    rotation::{Held, Rotation, Taken},
    walks::{Destination, Pace},
};
use crate::{
    config::{Discovery, KnownPeer},
    peers::Direction,
};

/// Most candidates that are dialed at a time.
const DIALS: usize = 8;

/// Most peers that this node chose in one neighbourhood.
const NEIGHBOURS: usize = 4;

/// Most peers that are kept for the next run.
const KEPT_PEERS: usize = 512;

/// Of the places for inbound connections this part is kept free, by asking useless peers to go.
const FREE_INBOUND: usize = 8;

/// Something to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Dial a candidate; to be answered by [`Planner::ready`] or [`Planner::failed`].
    Dial(Candidate),
    /// Dial the boot nodes that are due.
    Boot,
    /// Look for peers; to be answered by [`Planner::walked`].
    Walk(Destination),
    /// Ask a peer to go.
    Retire(PeerId),
}

/// How things stand.
pub(crate) struct View<'a> {
    pub(crate) held: &'a [Held],
    /// Candidates and boot nodes that are being dialed.
    pub(crate) dialing: usize,
    /// Dials that may be begun.
    pub(crate) free_dials: usize,
    /// Outbound connections that may be had, those for configured peers left out.
    pub(crate) outbound_room: usize,
    /// Most inbound connections.
    pub(crate) inbound_limit: u32,
    /// Whether Kademlia knows anyone to ask, and asks nobody yet.
    pub(crate) may_walk: bool,
    /// Peers that are not to be dialed: connected, being dialed, banned, configured, this node.
    pub(crate) excluded: &'a HashSet<PeerId>,
}

/// Keeps as many peers as wanted.
#[derive(Debug)]
pub(crate) struct Planner {
    target: usize,
    book: Book,
    pace: Pace,
    rotation: Rotation,
}

impl Planner {
    pub(crate) fn new(config: &Discovery, blemished_at: f64, now: Instant, rng: &mut impl Rng) -> Self {
        let mut book = Book::new(config.redial);
        // Those without an address are remembered for their scores alone.
        for known in config.known.iter().filter(|known| !known.addresses.is_empty()).take(KEPT_PEERS) {
            let KnownPeer { peer, addresses, seen, useful_bytes, .. } = known.clone();
            // A clock that cannot go back that far still knows who was there.
            let seen = now.checked_sub(seen).unwrap_or(now);
            book.restore(Proven { peer, addresses, seen, useful_bytes }, now, rng);
        }
        Self {
            target: config.target_peers as usize,
            book,
            pace: Pace::new(config.walks, now),
            rotation: Rotation::new(config.rotate_every, blemished_at, now),
        }
    }

    /// Number of peers in the book.
    pub(crate) fn candidates(&self) -> usize {
        self.book.len()
    }

    /// How many peers are lacking, not counting those that are being dialed. Half of all wanted peers are to be of this
    /// node's own choice, so that those who come by themselves never are all it has.
    pub(crate) fn lacking(&self, held: &[Held]) -> usize {
        let chosen = held.iter().filter(|peer| peer.direction == Direction::Outbound).count();
        let missing = self.target.saturating_sub(held.len());
        missing.max(self.target.div_ceil(2).saturating_sub(chosen))
    }

    /// What to do now. To be asked about once in a second.
    pub(crate) fn tick(&mut self, view: &View<'_>, now: Instant, rng: &mut impl Rng) -> Vec<Action> {
        for (peer, bytes) in self.rotation.measure(view.held, now) {
            self.book.useful(&peer, bytes);
        }
        for peer in view.held {
            self.book.seen(&peer.peer, now);
        }
        if self.target == 0 {
            return Vec::new();
        }
        let lacking = self.lacking(view.held).saturating_sub(view.dialing);
        let promising = self.book.promising(now, |peer| !view.excluded.contains(peer)) > 0;
        let mut actions = self.dials(view, lacking, now, rng);
        if lacking > 0 && actions.is_empty() && view.free_dials > 0 && view.outbound_room > 0 {
            actions.push(Action::Boot);
        }
        // Also when there are enough: without others to try, useless peers would stay for ever.
        if view.may_walk && (!promising || actions.contains(&Action::Boot)) {
            actions.extend(self.pace.due(now).map(Action::Walk));
        }
        let taken = self.taken(view, lacking == 0 && promising && view.outbound_room > 0);
        actions.extend(self.rotation.pick(view.held, taken, now).map(Action::Retire));
        actions
    }

    fn dials(&self, view: &View<'_>, lacking: usize, now: Instant, rng: &mut impl Rng) -> Vec<Action> {
        let most = DIALS.saturating_sub(view.dialing).min(view.free_dials).min(view.outbound_room).min(lacking);
        let mut neighbours = crowd(view.held);
        let mut drawn = HashSet::new();
        let mut dials = Vec::new();
        for _ in 0..most {
            let free = |peer: &PeerId| !drawn.contains(peer) && !view.excluded.contains(peer);
            let crowded = |place| neighbours.get(&place).is_some_and(|count| *count >= NEIGHBOURS);
            let Some(candidate) = self.book.draw(now, free, crowded, rng) else { break };
            drawn.insert(candidate.peer);
            for place in candidate.addresses.iter().filter_map(neighbourhood).collect::<HashSet<_>>() {
                *neighbours.entry(place).or_insert(0) += 1;
            }
            dials.push(Action::Dial(candidate));
        }
        dials
    }

    /// Places are taken if others could have them, or if there are more peers than wanted.
    fn taken(&self, view: &View<'_>, others: bool) -> Taken {
        let inbound = view.held.iter().filter(|peer| peer.direction == Direction::Inbound).count();
        let (chosen, limit) = (view.held.len().saturating_sub(inbound), view.inbound_limit as usize);
        Taken {
            wanted: others || chosen > self.target,
            inbound: inbound.saturating_add(limit.div_ceil(FREE_INBOUND)) > limit,
        }
    }

    /// Takes note of plausible addresses of a peer. Whether it is a new one.
    pub(crate) fn learn(
        &mut self,
        peer: PeerId,
        addresses: impl IntoIterator<Item = Multiaddr>,
        now: Instant,
        rng: &mut impl Rng,
    ) -> bool {
        self.book.learn(peer, addresses, now, rng)
    }

    /// Statuses were exchanged with `peer`, which was dialed at `address`.
    pub(crate) fn ready(&mut self, peer: PeerId, address: Multiaddr, now: Instant, rng: &mut impl Rng) {
        self.book.ready(peer, address, now, rng);
    }

    /// It did not work out with `peer`.
    pub(crate) fn failed(&mut self, peer: &PeerId, why: Setback, now: Instant, jitter: f64) {
        self.book.failed(peer, why, now, jitter);
    }

    /// Somebody else answers at `address`.
    pub(crate) fn forget_address(&mut self, peer: &PeerId, address: &Multiaddr) {
        self.book.forget_address(peer, address);
    }

    /// The node does not get on with the peers that it has: others are looked for, and one makes place.
    pub(crate) fn hurry(&mut self, now: Instant) {
        self.pace.hurry(now);
        self.rotation.hurry();
    }

    /// `peer` was the first to tell of a decided value that is good.
    pub(crate) fn heard(&mut self, peer: &PeerId) {
        self.rotation.heard(peer);
    }

    /// A walk has ended and led to so many peers that were not known.
    pub(crate) fn walked(&mut self, newcomers: usize, now: Instant, jitter: f64) {
        self.pace.ended(newcomers, now, jitter);
    }

    /// Peers that were tried of late and are to be left alone.
    pub(crate) fn resting(&self, now: Instant) -> HashSet<PeerId> {
        self.book.resting(now)
    }

    /// What is worth knowing in the next run, without scores.
    pub(crate) fn known(&self, now: Instant) -> Vec<KnownPeer> {
        let mut proven = self.book.proven();
        proven.truncate(KEPT_PEERS);
        let known = proven.into_iter().map(|Proven { peer, addresses, seen, useful_bytes }| KnownPeer {
            peer,
            addresses,
            seen: ago(seen, now),
            useful_bytes,
            score: 0.0,
        });
        known.collect()
    }
}

/// How many peers of this node's choice are in each neighbourhood.
fn crowd(held: &[Held]) -> HashMap<Neighbourhood, usize> {
    let mut crowd = HashMap::new();
    for place in held.iter().filter_map(|peer| neighbourhood(peer.address.as_ref()?)) {
        *crowd.entry(place).or_insert(0) += 1;
    }
    crowd
}

#[cfg(test)]
mod tests;
