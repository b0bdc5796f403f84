//! Which peer makes place for another when there are enough: one that was of no use for a while, one at a time.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use libp2p::{Multiaddr, PeerId};

use crate::peers::Direction;

/// Bytes within one period that make a peer useful: two blobs. Statuses and pings of a period are less.
pub(super) const USEFUL_BYTES: u64 = 256 * 1024;

/// What a decided value is worth that a peer announced before others did: eight of them in a period make it useful.
const ANNOUNCEMENT_BYTES: u64 = USEFUL_BYTES / 8;

/// A connected peer as far as it matters here.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Held {
    pub(crate) peer: PeerId,
    /// Outbound if this node opened any of its connections.
    pub(crate) direction: Direction,
    /// Where this node dialed it.
    pub(crate) address: Option<Multiaddr>,
    /// Configured or trusted: never asked to go.
    pub(crate) kept: bool,
    /// Received from it and sent to it, over the connections that are open.
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) score: f64,
    /// It claims to hold what this node lacks.
    pub(crate) ahead: bool,
}

/// Which places are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    /// There are as many peers as wanted, and others to try.
    pub(crate) wanted: bool,
    /// Hardly anyone else can connect to this node.
    pub(crate) inbound: bool,
}

/// What a peer has at least to show what it is worth.
const NEWCOMER: Duration = Duration::from_secs(20);

#[derive(Clone, Copy, Debug)]
struct Mark {
    since: Instant,
    /// Counted so far, to tell what is new.
    bytes_in: u64,
    /// At the beginning of the period.
    from_in: u64,
    from_out: u64,
    announcements: u64,
}

/// Measures peers and picks the one that is to go.
#[derive(Debug)]
pub(crate) struct Rotation {
    every: Duration,
    /// At or below this score a peer is no better than one that is of no use.
    blemished_at: f64,
    next: Instant,
    /// Nothing gets on with those that there are: one of them goes without having been useless for a period.
    hurried: bool,
    /// Of connected peers only.
    marks: HashMap<PeerId, Mark>,
}

impl Rotation {
    pub(crate) fn new(every: Duration, blemished_at: f64, now: Instant) -> Self {
        Self { every, blemished_at, next: now + every, hurried: false, marks: HashMap::new() }
    }

    /// Takes the counts of all connected peers; what each has sent since the last time.
    pub(crate) fn measure(&mut self, held: &[Held], now: Instant) -> Vec<(PeerId, u64)> {
        let old = std::mem::take(&mut self.marks);
        let mut news = Vec::new();
        for peer in held {
            let fresh = Mark { since: now, bytes_in: 0, from_in: 0, from_out: 0, announcements: 0 };
            let mut mark = old.get(&peer.peer).copied().unwrap_or(fresh);
            let more = peer.bytes_in.saturating_sub(mark.bytes_in);
            if more > 0 {
                news.push((peer.peer, more));
            }
            mark.bytes_in = peer.bytes_in;
            self.marks.insert(peer.peer, mark);
        }
        news
    }

    /// `peer` was the first to tell of a decided value.
    pub(crate) fn heard(&mut self, peer: &PeerId) {
        if let Some(mark) = self.marks.get_mut(peer) {
            mark.announcements = mark.announcements.saturating_add(1);
        }
    }

    /// Nothing gets on: the next look picks somebody, if others are to be had.
    pub(crate) fn hurry(&mut self) {
        self.hurried = true;
    }

    /// At the end of each period, the peer that is to go, if places are taken and one was of no use for all of it.
    ///
    /// Peers that this node chose go for being useless to it, in a hurry whatever they gave before. Those that came by
    /// themselves are served, which is what the network lives by: they go only when no one else could come, and if they
    /// neither gave nor took anything. A look in a hurry that picks nobody leaves the period as it is.
    pub(crate) fn pick(&mut self, held: &[Held], taken: Taken, now: Instant) -> Option<PeerId> {
        let hurried = std::mem::take(&mut self.hurried);
        let is_over = now >= self.next;
        if !is_over && !hurried {
            return None;
        }
        let worst = held.iter().filter(|peer| self.may_go(peer, taken, hurried, now)).max_by(|a, b| {
            let rank = |peer: &Held| (self.is_blemished(peer), !peer.ahead);
            rank(a).cmp(&rank(b)).then_with(|| self.used(b).cmp(&self.used(a))).then(a.peer.cmp(&b.peer))
        });
        let worst = worst.map(|peer| peer.peer);
        if !is_over && worst.is_none() {
            return None;
        }
        self.next = now + self.every;
        for mark in self.marks.values_mut() {
            mark.announcements = 0;
        }
        for peer in held {
            if let Some(mark) = self.marks.get_mut(&peer.peer) {
                (mark.from_in, mark.from_out) = (peer.bytes_in, peer.bytes_out);
            }
        }
        worst
    }

    fn may_go(&self, peer: &Held, taken: Taken, hurried: bool, now: Instant) -> bool {
        let Some(mark) = self.marks.get(&peer.peer) else { return false };
        let least = if hurried { NEWCOMER } else { self.every };
        if peer.kept || now.saturating_duration_since(mark.since) < least {
            return false;
        }
        if hurried && peer.direction == Direction::Outbound {
            return taken.wanted;
        }
        let useless = self.used(peer) < USEFUL_BYTES;
        match peer.direction {
            Direction::Outbound => taken.wanted && (useless || self.is_blemished(peer)),
            Direction::Inbound => {
                let took = peer.bytes_out.saturating_sub(mark.from_out);
                taken.inbound && useless && took < USEFUL_BYTES
            }
        }
    }

    fn is_blemished(&self, peer: &Held) -> bool {
        peer.score <= self.blemished_at
    }

    /// Bytes of use in this period.
    fn used(&self, peer: &Held) -> u64 {
        self.marks.get(&peer.peer).map_or(0, |mark| {
            let announced = mark.announcements.saturating_mul(ANNOUNCEMENT_BYTES);
            peer.bytes_in.saturating_sub(mark.from_in).saturating_add(announced)
        })
    }
}

#[cfg(test)]
mod tests;
