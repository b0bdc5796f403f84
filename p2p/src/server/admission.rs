//! Who is served at a time: so many in all, so many of each peer and protocol, and some places for those near the head.

use std::{sync::Arc, time::Duration};

use lapis_protocol_spec::{MAX_CONCURRENT_REQUESTS, Method};
use libp2p::PeerId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    limiter::Class,
    limits::ExchangeLimits,
    permits::{KeyedPermit, KeyedPermits},
};

/// Permission to serve one exchange, shared with the thread that reads for it, and given back when both are done.
#[derive(Debug)]
pub(super) struct Admission {
    _total: OwnedSemaphorePermit,
    _share: KeyedPermit<(PeerId, Method)>,
    _catching_up: Option<OwnedSemaphorePermit>,
}

/// Streams of one peer, on all protocols, that wait for room at a time. As many as a client of ours may give up and
/// replace in one go on one protocol.
const WAITING_PER_PEER: usize = MAX_CONCURRENT_REQUESTS;

/// Why an exchange is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Its peer has as many as the protocol allows.
    TooManyOfPeer,
    /// All places are taken, or all that are not kept for those near the head. Nobody's fault.
    NoRoom,
}

/// An exchange that is to be served, at once or when its peer has room.
#[derive(Debug)]
pub(super) struct Entry {
    total: OwnedSemaphorePermit,
    share: Share,
    catching_up: Arc<Semaphore>,
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
        let _catching_up = match class {
            Class::NearHead => None,
            // Not waited for: those who wait would take the places that are kept.
            Class::CatchUp => Some(self.catching_up.try_acquire_owned().map_err(|_| Refusal::NoRoom)?),
        };
        Ok(Arc::new(Admission { _total: self.total, _share: share, _catching_up }))
    }
}

/// All places.
#[derive(Debug)]
pub(super) struct Admissions {
    total: Arc<Semaphore>,
    /// Places that need not be near the head.
    catching_up: Arc<Semaphore>,
    shares: KeyedPermits<(PeerId, Method)>,
    /// Places to wait in, few per peer, so that waiting takes no room from serving.
    places: KeyedPermits<PeerId>,
}

impl Admissions {
    pub(super) fn new(limits: &ExchangeLimits, near_head_percent: u8) -> Self {
        let total = limits.inbound as usize;
        let kept = total * usize::from(near_head_percent.min(99)) / 100;
        Self {
            total: Arc::new(Semaphore::new(total)),
            catching_up: Arc::new(Semaphore::new(total - kept)),
            shares: KeyedPermits::new(limits.inbound_per_protocol as usize),
            places: KeyedPermits::new(WAITING_PER_PEER),
        }
    }

    /// Takes a place for an exchange whose request is still to be read.
    pub(super) fn enter(&self, peer: PeerId, method: Method) -> Result<Entry, Refusal> {
        let total = self.total.clone().try_acquire_owned().map_err(|_| Refusal::NoRoom)?;
        let held = self.shares.try_acquire((peer, method)).map(Share::Held);
        let waiting = || Some(Share::Waiting(self.shares.clone(), self.places.try_acquire(peer)?));
        let share = held.or_else(waiting).ok_or(Refusal::TooManyOfPeer)?;
        Ok(Entry { total, share, catching_up: self.catching_up.clone() })
    }

    /// Places that are free: of all, of those that need not be near the head; and keys that are in use.
    #[cfg(test)]
    pub(super) fn state(&self) -> (usize, usize, usize) {
        let keys = self.shares.keys_in_use() + self.places.keys_in_use();
        (self.total.available_permits(), self.catching_up.available_permits(), keys)
    }
}

#[cfg(test)]
mod tests;
