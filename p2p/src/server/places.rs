//! Places that peers share, so that whoever has none gets one.
//!
//! For each peer that may yet come one place is kept, up to five eighths of all; the others are for those that want more
//! than one, as long as more are left than the peer has. So a few that open all the streams they may, and read as
//! slowly as they may, do not keep out everybody else.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use libp2p::PeerId;

/// So many places; clones are the same.
#[derive(Clone, Debug)]
pub(super) struct Places {
    /// At most so many places are kept for peers that have none.
    most_kept: usize,
    /// Most peers that there can be.
    peers: usize,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Debug)]
struct Taken {
    free: usize,
    /// Of peers that have any.
    by_peer: HashMap<PeerId, usize>,
}

/// One place, given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Places,
    peer: PeerId,
}

impl Places {
    /// `total` places for at most `peers` peers.
    pub(super) fn new(total: usize, peers: usize) -> Self {
        let taken = Taken { free: total, by_peer: HashMap::new() };
        Self { most_kept: total.saturating_mul(5) / 8, peers, taken: Arc::new(Mutex::new(taken)) }
    }

    /// A place for `peer`: any if it has none, else one that is not kept for others.
    pub(super) fn take(&self, peer: PeerId) -> Option<Place> {
        let mut taken = self.taken();
        let held = taken.by_peer.get(&peer).copied().unwrap_or(0);
        let kept = if held == 0 { 0 } else { self.peers.saturating_sub(taken.by_peer.len()).min(self.most_kept) };
        if taken.free <= kept.max(held) {
            return None;
        }
        taken.free -= 1;
        taken.by_peer.insert(peer, held + 1);
        Some(Place { places: self.clone(), peer })
    }

    /// Free places, and peers that have any.
    #[cfg(test)]
    pub(super) fn state(&self) -> (usize, usize) {
        let taken = self.taken();
        (taken.free, taken.by_peer.len())
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        taken.free += 1;
        if let Some(held) = taken.by_peer.get_mut(&self.peer) {
            *held -= 1;
            if *held == 0 {
                taken.by_peer.remove(&self.peer);
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use super::*;

    fn grab(places: &Places, peer: PeerId) -> Vec<Place> {
        std::iter::from_fn(|| places.take(peer)).collect()
    }

    #[test]
    fn each_peer_that_may_come_has_a_place_kept() {
        let places = Places::new(16, 10);
        let held: Vec<_> = (0..10).map(|_| grab(&places, PeerId::random())).collect();
        let counts: Vec<_> = held.iter().map(Vec::len).collect();
        assert_eq!(counts, [7, 1, 1, 1, 1, 1, 1, 1, 1, 1]);
        drop(held);
        assert_eq!(places.state(), (16, 0));
    }

    #[test]
    fn where_there_are_fewer_places_than_peers_one_still_has_more_than_one() {
        let places = Places::new(4, 128);
        let first = grab(&places, PeerId::random());
        let others: Vec<_> = (0..3).map(|_| grab(&places, PeerId::random())).collect();
        assert_eq!((first.len(), others.iter().map(Vec::len).collect::<Vec<_>>()), (2, vec![1, 1, 0]));
        drop((first, others));
        assert_eq!(places.state(), (4, 0));
    }

    #[test]
    fn what_is_given_back_may_be_taken() {
        let places = Places::new(8, 1);
        let peer = PeerId::random();
        let held = grab(&places, peer);
        assert_eq!(held.len(), 4, "as many as are left");
        drop(held);
        assert_eq!(grab(&places, peer).len(), 4);
    }
}
