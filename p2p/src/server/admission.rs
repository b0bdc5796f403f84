//! Who is served at a time: so many in all, so many of each peer and protocol, and some places for those near the head.
//!
//! Peers share the places as [`Places`] has it. Statuses, pings and goodbyes take none: without them nobody can become or
//! stay a peer. They are small, and there are no more of them than a peer's share of each protocol.

use std::{sync::Arc, time::Duration};

use lapis_protocol_spec::{MAX_CONCURRENT_REQUESTS, Method};
use libp2p::PeerId;

use super::places::{Place, Places};
use crate::{
    limiter::Class,
    limits::ExchangeLimits,
    permits::{KeyedPermit, KeyedPermits},
};

/// Permission to serve one exchange, shared with the thread that reads for it, and given back when both are done.
#[derive(Debug)]
pub(super) struct Admission {
    _total: Option<Place>,
    _share: KeyedPermit<(PeerId, Method)>,
    /// A place that need not be near the head.
    old: Option<Place>,
    peer: PeerId,
    catching_up: Places,
}

impl Admission {
    /// What was taken to be near the head is not. Returns the place that it needs, if it has none yet.
    pub(super) fn catch_up(&self) -> Result<Option<Place>, Refusal> {
        match self.old {
            Some(_) => Ok(None),
            None => self.catching_up.take(self.peer).map(Some).ok_or(Refusal::NoRoom),
        }
    }
}

/// Streams of one peer, on all protocols, that wait for room at a time. As many as a client of ours may give up and
/// replace in one go on one protocol.
const WAITING_PER_PEER: usize = MAX_CONCURRENT_REQUESTS;

/// Why an exchange is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Its peer has as many as the protocol allows.
    TooManyOfPeer,
    /// The places are taken that this peer could have, or all that are not kept for those near the head. Nobody's
    /// fault.
    NoRoom,
}

/// An exchange that is to be served, at once or when its peer has room.
#[derive(Debug)]
pub(super) struct Entry {
    total: Option<Place>,
    share: Share,
    catching_up: Places,
}

/// Where an exchange stands with its peer's share.
#[derive(Debug)]
enum Share {
    /// One of those that the protocol allows.
    Held(KeyedPermit<(PeerId, Method)>),
    /// More than that.
    Waiting(KeyedPermits<(PeerId, Method)>, KeyedPermit<PeerId>),
}

impl Entry {
    /// Waits for room in its peer's share for `limit` at most.
    pub(super) async fn admit(
        self,
        peer: PeerId,
        method: Method,
        class: Class,
        limit: Duration,
    ) -> Result<Arc<Admission>, Refusal> {
        let share = match self.share {
            Share::Held(share) => share,
            Share::Waiting(shares, _place) => {
                tokio::time::timeout(limit, shares.acquire((peer, method))).await.map_err(|_| Refusal::TooManyOfPeer)?
            }
        };
        let old = match class {
            Class::NearHead => None,
            // Not waited for: those who wait would take the places that are kept.
            Class::CatchUp => Some(self.catching_up.take(peer).ok_or(Refusal::NoRoom)?),
        };
        Ok(Arc::new(Admission { _total: self.total, _share: share, old, peer, catching_up: self.catching_up }))
    }
}

/// All places.
#[derive(Debug)]
pub(super) struct Admissions {
    total: Places,
    /// Places that need not be near the head.
    catching_up: Places,
    shares: KeyedPermits<(PeerId, Method)>,
    /// Few of a peer wait for room, or to be told that there is none.
    waiting: KeyedPermits<PeerId>,
}

impl Admissions {
    /// `near_head_percent` of the places are kept for exchanges near the head. There are at most so many `peers`.
    pub(super) fn new(limits: &ExchangeLimits, near_head_percent: u8, peers: u32) -> Self {
        let total = limits.inbound as usize;
        let kept = total * usize::from(near_head_percent.min(99)) / 100;
        Self {
            total: Places::new(total, peers as usize),
            catching_up: Places::new(total - kept, peers as usize),
            shares: KeyedPermits::new(limits.inbound_per_protocol as usize),
            waiting: KeyedPermits::new(WAITING_PER_PEER),
        }
    }

    /// Takes a place for an exchange whose request is still to be read.
    pub(super) fn enter(&self, peer: PeerId, method: Method) -> Result<Entry, Refusal> {
        let held = self.shares.try_acquire((peer, method)).map(Share::Held);
        let waiting = || Some(Share::Waiting(self.shares.clone(), self.waiting.try_acquire(peer)?));
        let share = held.or_else(waiting).ok_or(Refusal::TooManyOfPeer)?;
        let total = if needs_place(method) { Some(self.total.take(peer).ok_or(Refusal::NoRoom)?) } else { None };
        Ok(Entry { total, share, catching_up: self.catching_up.clone() })
    }

    /// Leave to be told that there is no room. `None` if too many of the peer's streams wait for that.
    pub(super) fn turn_away(&self, peer: PeerId) -> Option<KeyedPermit<PeerId>> {
        self.waiting.try_acquire(peer)
    }

    /// Places that are free: of all, of those that need not be near the head; and keys that are in use.
    #[cfg(test)]
    pub(super) fn state(&self) -> (usize, usize, usize) {
        let ((total, peers), (catching_up, old)) = (self.total.state(), self.catching_up.state());
        (total, catching_up, self.shares.keys_in_use() + self.waiting.keys_in_use() + peers + old)
    }
}

/// Whether answers of `method` are data.
const fn needs_place(method: Method) -> bool {
    match method {
        Method::Status | Method::Ping | Method::Goodbye => false,
        Method::DecidedValuesByRange
        | Method::ValidatorSetByRoot
        | Method::PayloadsByRange
        | Method::PayloadsByRoot
        | Method::BlobsByRange
        | Method::BlobsByRoot => true,
    }
}

#[cfg(test)]
mod tests;
