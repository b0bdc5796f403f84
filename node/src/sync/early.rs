//! Announcements that come before the set that signed them is known: kept for a moment, until it is.
//!
//! Whoever announces may be anybody, so little is kept: a few announcements, of heights just above the decided one, two of
//! a peer at a time. What is dropped is no loss but of time, since the values come by range as well.

use std::collections::VecDeque;

use lapis_protocol_spec::Height;
use libp2p::PeerId;

/// Announcements that are kept.
pub(super) const MAX_EARLY: usize = 16;
/// Of these from one peer.
const MAX_OF_PEER: usize = 2;
/// How far above the decided height one may be.
const MAX_AHEAD: Height = 4;

/// An announcement as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Announced<M> {
    /// Who sent it.
    pub(super) peer: PeerId,
    /// The height that is announced.
    pub(super) height: Height,
    /// What it says.
    pub(super) message: M,
}

/// Announcements that wait, oldest first.
#[derive(Debug)]
pub(super) struct Early<M>(VecDeque<Announced<M>>);

impl<M> Default for Early<M> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<M> Early<M> {
    /// Keeps `announced`, where `decided` is the decided height. Gives what is not kept instead: that one, or the oldest
    /// of the same peer, or of all.
    pub(super) fn keep(&mut self, announced: Announced<M>, decided: Height) -> Option<Announced<M>> {
        if announced.height <= decided || announced.height > decided.saturating_add(MAX_AHEAD) {
            return Some(announced);
        }
        let is_same = |kept: &Announced<M>| kept.peer == announced.peer;
        let of_peer = self.0.iter().filter(|kept| is_same(kept)).count();
        let dropped = if of_peer >= MAX_OF_PEER {
            self.0.iter().position(is_same).and_then(|place| self.0.remove(place))
        } else if self.0.len() >= MAX_EARLY {
            self.0.pop_front()
        } else {
            None
        };
        self.0.push_back(announced);
        dropped
    }

    /// Everything, to be judged again.
    pub(super) fn take(&mut self) -> impl Iterator<Item = Announced<M>> + use<M> {
        std::mem::take(&mut self.0).into_iter()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn announced(peer: PeerId, height: Height, message: usize) -> Announced<usize> {
        Announced { peer, height, message }
    }

    #[test]
    fn a_peer_that_announces_much_displaces_its_own() {
        let (loud, other) = (PeerId::random(), PeerId::random());
        let mut early = Early::default();
        assert_eq!(early.keep(announced(other, 6, 0), 5), None);
        let dropped: Vec<_> = (1..=40).filter_map(|message| early.keep(announced(loud, 6, message), 5)).collect();
        assert_eq!(dropped.len(), 38);
        assert!(dropped.iter().all(|dropped| dropped.peer == loud));
        let kept: Vec<usize> = early.take().map(|kept| kept.message).collect();
        assert_eq!(kept, [0, 39, 40]);
        assert_eq!(early.take().count(), 0);
    }

    #[test]
    fn however_many_announce_little_is_kept() {
        let mut early = Early::default();
        let dropped = (0..100).filter_map(|message| early.keep(announced(PeerId::random(), 6, message), 5)).count();
        assert_eq!((dropped, early.take().count()), (100 - MAX_EARLY, MAX_EARLY));
    }

    #[test]
    fn what_is_decided_or_far_off_is_not_kept() {
        let mut early = Early::default();
        for (height, is_kept) in [(0, false), (5, false), (6, true), (9, true), (10, false), (u64::MAX, false)] {
            let peer = PeerId::random();
            assert_eq!(early.keep(announced(peer, height, 0), 5).is_none(), is_kept, "{height}");
        }
        assert_eq!(early.keep(announced(PeerId::random(), u64::MAX, 0), u64::MAX).unwrap().height, u64::MAX);
    }
}
