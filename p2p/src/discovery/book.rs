//! The address book: peers that may be dialed, what came of it so far, and when each may be tried again.

use std::{
    collections::{BTreeMap, HashSet},
    time::{Duration, Instant},
};

use libp2p::{Multiaddr, PeerId};
use rand::{Rng, seq::IteratorRandom};

use super::{
    address::{ADDRESSES_PER_PEER, Neighbourhood, neighbourhood},
    rotation::USEFUL_BYTES,
};
use crate::config::Redial;

/// Most peers in the book. An entry has at most eight addresses of some 40 bytes: the book stays below 1 MiB.
pub(crate) const CAPACITY: usize = 1024;

/// Of which so many may be known by hearsay alone: whoever tells of many peers must not push out those that were there.
const HEARSAY: usize = CAPACITY / 2;

/// Failures in a row after which a peer that was never reached is forgotten; and one that was.
const HEARSAY_FAILURES: u32 = 3;
const PROVEN_FAILURES: u32 = 16;

/// Back-off is doubled at most this often.
const MOST_DOUBLINGS: u32 = 16;

/// What a peer that is full, or was asked to make place, is left alone for: a part of the longest delay.
const FULL_FRACTION: u32 = 4;

/// Why a peer is not to be dialed again at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Setback {
    /// Not reached, or gone without a word.
    Unreachable,
    /// It has no place for us, or we gave its place to another.
    Full,
    /// Of another chain, or it has banned us: will not pass soon.
    Unsuitable,
}

/// What may be expected of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Was reached, and of use.
    Useful,
    /// Known by hearsay.
    Hearsay,
    /// Was reached, and of no use yet.
    Tried,
}

impl Kind {
    /// In the order of preference.
    const ALL: [Self; 3] = [Self::Useful, Self::Hearsay, Self::Tried];
}

#[derive(Clone, Debug)]
struct Entry {
    /// At most [`ADDRESSES_PER_PEER`], the ones that worked last first.
    addresses: Vec<Multiaddr>,
    /// When it was connected last, if it ever was ready at an address that this node dialed.
    proven: Option<Instant>,
    /// Bytes of use that it has been, over all connections and runs.
    useful_bytes: u64,
    failures: u32,
    /// Not to be dialed before.
    not_before: Instant,
    unsuitable: bool,
}

/// A peer that may be dialed now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) peer: PeerId,
    pub(crate) addresses: Vec<Multiaddr>,
}

/// What is worth keeping of a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Proven {
    pub(crate) peer: PeerId,
    pub(crate) addresses: Vec<Multiaddr>,
    pub(crate) seen: Instant,
    pub(crate) useful_bytes: u64,
}

/// Peers and their addresses. Bounded by [`CAPACITY`].
#[derive(Debug)]
pub(crate) struct Book {
    rules: Redial,
    /// In order, so that what is drawn depends on nothing but the random numbers given.
    entries: BTreeMap<PeerId, Entry>,
}

impl Book {
    pub(crate) fn new(rules: Redial) -> Self {
        Self { rules, entries: BTreeMap::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Takes up what an earlier run has proven.
    pub(crate) fn restore(&mut self, proven: Proven, now: Instant, rng: &mut impl Rng) {
        let Proven { peer, mut addresses, seen, useful_bytes } = proven;
        addresses.truncate(ADDRESSES_PER_PEER);
        if addresses.is_empty() || !self.make_room(true, rng) {
            return;
        }
        let entry = Entry {
            addresses,
            proven: Some(seen.min(now)),
            useful_bytes,
            failures: 0,
            not_before: now,
            unsuitable: false,
        };
        self.entries.insert(peer, entry);
    }

    /// Takes note of addresses that were told, which must be plausible ones. Whether the peer is a new one.
    pub(crate) fn learn(
        &mut self,
        peer: PeerId,
        addresses: impl IntoIterator<Item = Multiaddr>,
        now: Instant,
        rng: &mut impl Rng,
    ) -> bool {
        let mut addresses = addresses.into_iter().take(ADDRESSES_PER_PEER).peekable();
        if addresses.peek().is_none() {
            return false;
        }
        if let Some(entry) = self.entries.get_mut(&peer) {
            for address in addresses {
                entry.add(address);
            }
            return false;
        }
        if !self.make_room(false, rng) {
            return false;
        }
        let mut entry = Entry {
            addresses: Vec::new(),
            proven: None,
            useful_bytes: 0,
            failures: 0,
            not_before: now,
            unsuitable: false,
        };
        for address in addresses {
            entry.add(address);
        }
        self.entries.insert(peer, entry);
        true
    }

    /// `peer` has exchanged statuses over a connection that this node opened to `address`.
    pub(crate) fn ready(&mut self, peer: PeerId, address: Multiaddr, now: Instant, rng: &mut impl Rng) {
        if !self.entries.contains_key(&peer) && !self.make_room(true, rng) {
            return;
        }
        let entry = self.entries.entry(peer).or_insert_with(|| Entry {
            addresses: Vec::new(),
            proven: None,
            useful_bytes: 0,
            failures: 0,
            not_before: now,
            unsuitable: false,
        });
        entry.addresses.retain(|known| *known != address);
        entry.addresses.insert(0, address);
        entry.addresses.truncate(ADDRESSES_PER_PEER);
        entry.proven = Some(now);
        entry.failures = 0;
        entry.unsuitable = false;
        entry.not_before = now;
    }

    /// `peer` is connected.
    pub(crate) fn seen(&mut self, peer: &PeerId, now: Instant) {
        if let Some(entry) = self.entries.get_mut(peer) {
            entry.proven = entry.proven.map(|_| now);
        }
    }

    /// `peer` has been of so much use since the last time.
    pub(crate) fn useful(&mut self, peer: &PeerId, bytes: u64) {
        if let Some(entry) = self.entries.get_mut(peer) {
            entry.useful_bytes = entry.useful_bytes.saturating_add(bytes);
        }
    }

    /// It did not work out with `peer`. `jitter` is in `0.0..1.0`: between half the delay and all of it is waited.
    pub(crate) fn failed(&mut self, peer: &PeerId, why: Setback, now: Instant, jitter: f64) {
        let rules = self.rules;
        let Some(entry) = self.entries.get_mut(peer) else { return };
        entry.failures = entry.failures.saturating_add(u32::from(why == Setback::Unreachable));
        let most = if entry.proven.is_some() { PROVEN_FAILURES } else { HEARSAY_FAILURES };
        if entry.failures >= most {
            self.entries.remove(peer);
            return;
        }
        let full = match why {
            Setback::Unreachable => {
                let doubled = 2_u32.saturating_pow(entry.failures.saturating_sub(1).min(MOST_DOUBLINGS));
                rules.first_delay.saturating_mul(doubled).min(rules.longest_delay)
            }
            Setback::Full => (rules.longest_delay / FULL_FRACTION).max(rules.first_delay),
            Setback::Unsuitable => rules.unsuitable_delay,
        };
        entry.unsuitable |= why == Setback::Unsuitable;
        let until = now + full.mul_f64(0.5 + 0.5 * jitter.clamp(0.0, 1.0));
        entry.not_before = entry.not_before.max(until);
    }

    /// Somebody else answers at `address`.
    pub(crate) fn forget_address(&mut self, peer: &PeerId, address: &Multiaddr) {
        if let Some(entry) = self.entries.get_mut(peer) {
            entry.addresses.retain(|known| known != address);
            if entry.addresses.is_empty() {
                self.entries.remove(peer);
            }
        }
    }

    /// Peers that are of no use for now, so that no query needs to lead there.
    pub(crate) fn resting(&self, now: Instant) -> HashSet<PeerId> {
        self.entries.iter().filter(|(_, entry)| entry.not_before > now).map(|(peer, _)| *peer).collect()
    }

    /// Number of peers that could be dialed now and may be of use, among those that `free` lets through.
    pub(crate) fn promising(&self, now: Instant, free: impl Fn(&PeerId) -> bool) -> usize {
        let due = self.entries.iter().filter(|(peer, entry)| entry.not_before <= now && free(peer));
        due.filter(|(_, entry)| entry.kind() != Kind::Tried).count()
    }

    /// Draws a peer to dial: a useful one, one by hearsay or one that was of no use, each kind as soon as the others,
    /// whatever their numbers, so that neither those who tell of many nor those who were there once have all the say.
    /// None in a neighbourhood that `crowded` names.
    pub(crate) fn draw(
        &self,
        now: Instant,
        free: impl Fn(&PeerId) -> bool,
        crowded: impl Fn(Neighbourhood) -> bool,
        rng: &mut impl Rng,
    ) -> Option<Candidate> {
        let fits = |(peer, entry): &(&PeerId, &Entry)| {
            let lonely = |address| neighbourhood(address).is_none_or(|place| !crowded(place));
            entry.not_before <= now && free(peer) && entry.addresses.iter().any(lonely)
        };
        let first = Kind::ALL.into_iter().choose(rng);
        let mut kinds = first.into_iter().chain(Kind::ALL);
        let (peer, entry) = kinds
            .find_map(|kind| self.entries.iter().filter(|(_, entry)| entry.kind() == kind).filter(&fits).choose(rng))?;
        Some(Candidate { peer: *peer, addresses: entry.addresses.clone() })
    }

    /// Peers that were reached, the last ones first.
    pub(crate) fn proven(&self) -> Vec<Proven> {
        let mut proven: Vec<_> = self
            .entries
            .iter()
            .filter(|(_, entry)| !entry.unsuitable)
            .filter_map(|(peer, entry)| {
                let (addresses, useful_bytes) = (entry.addresses.clone(), entry.useful_bytes);
                entry.proven.map(|seen| Proven { peer: *peer, addresses, seen, useful_bytes })
            })
            .collect();
        proven.sort_by(|a, b| b.seen.cmp(&a.seen).then(a.peer.cmp(&b.peer)));
        proven
    }

    /// Place for one more. Hearsay takes the place of hearsay that failed, else of any; who was reached takes the place
    /// of hearsay, else of whom was reached longest ago.
    fn make_room(&mut self, proven: bool, rng: &mut impl Rng) -> bool {
        let hearsay = self.entries.values().filter(|entry| entry.proven.is_none()).count();
        let full = self.entries.len() >= CAPACITY || (!proven && hearsay >= HEARSAY);
        if !full {
            return true;
        }
        let unproven = || self.entries.iter().filter(|(_, entry)| entry.proven.is_none());
        let worst = unproven()
            .filter(|(_, entry)| entry.failures > 0)
            .choose(rng)
            .or_else(|| unproven().choose(rng))
            .map(|(peer, _)| *peer);
        let oldest = || {
            let reached = self.entries.iter().filter_map(|(peer, entry)| Some((entry.proven?, *peer)));
            reached.min().map(|(_, peer)| peer)
        };
        let gone = if proven { worst.or_else(oldest) } else { worst };
        gone.is_some_and(|peer| self.entries.remove(&peer).is_some())
    }
}

impl Entry {
    fn kind(&self) -> Kind {
        match self.proven {
            None => Kind::Hearsay,
            Some(_) if self.useful_bytes >= USEFUL_BYTES => Kind::Useful,
            Some(_) => Kind::Tried,
        }
    }

    /// Addresses that worked stay; of the others the newest.
    fn add(&mut self, address: Multiaddr) {
        if self.addresses.contains(&address) {
            return;
        }
        if self.addresses.len() >= ADDRESSES_PER_PEER {
            self.addresses.pop();
        }
        self.addresses.push(address);
    }
}

/// How long ago `then` was; nothing is in the future.
pub(crate) fn ago(then: Instant, now: Instant) -> Duration {
    now.saturating_duration_since(then)
}

#[cfg(test)]
mod tests;
