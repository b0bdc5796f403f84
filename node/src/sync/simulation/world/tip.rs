//! A chain that grows: heights are decided, peers learn of them and tell of them, and the node hears of it.

use std::time::Duration;

use lapis_protocol_spec::Height;

use super::{Event, World};
use crate::sync::{
    early::Announced,
    scheduler::{Input, SourceId},
    simulation::{growth::root_of, machine::Fetched},
};

/// Between two announcements of one height by one peer.
const AGAIN: Duration = Duration::from_millis(20);
/// A peer says no more often how far it is.
const STATUS_INTERVAL: Duration = Duration::from_secs(1);

impl World<'_> {
    /// Plans when who learns of what.
    pub(super) fn grow(&mut self) {
        let Some(growth) = &self.plan.growth else { return };
        for (place, news) in growth.news.iter().enumerate() {
            for (height, decided) in growth.heights() {
                self.queue.plan(decided + news.after, Event::Learned(place, height));
            }
        }
    }

    /// A peer has a height: it announces it, and says how far it is unless it has just done so.
    pub(super) fn learned(&mut self, place: usize, height: Height) {
        let (Some(growth), Some(planned)) = (&self.plan.growth, self.plan.peers.get(place)) else { return };
        let (Some(news), Some(peer)) = (growth.news.get(place), self.peers.get_mut(place)) else { return };
        peer.head = peer.head.max(height);
        if !peer.is_up {
            return;
        }
        for time in 0..news.announcements {
            if !rand::Rng::random_ratio(&mut self.rng, news.lost_permille, 1000) {
                self.queue.plan(self.now + planned.latency + AGAIN * time, Event::Announced(place, height));
            }
        }
        if !peer.will_tell {
            peer.will_tell = true;
            let at = peer.told.map_or(self.now, |told| self.now.max(told + STATUS_INTERVAL));
            self.queue.plan(at, Event::Tell(place));
        }
    }

    /// A peer says how far it is.
    pub(super) fn tell(&mut self, place: usize) {
        let (Some(planned), Some(peer)) = (self.plan.peers.get(place), self.peers.get_mut(place)) else { return };
        peer.will_tell = false;
        peer.told = Some(self.now);
        self.queue.plan(self.now + planned.latency, Event::Told(place, peer.head));
    }

    pub(super) fn told(&mut self, place: usize, head: Height) {
        let (Some(planned), Some(peer)) = (self.plan.peers.get(place), self.peers.get(place)) else { return };
        if peer.is_up {
            let (peer, status) = (peer.id, planned.status(head, peer.is_boasting));
            let _ = self.inform(Input::PeerStatus { peer, status });
            self.tip.heard(self.plan, place, 1..=head, self.now);
            self.log.tells(self.now, place, "is at", head, self.plan);
        }
    }

    /// An announcement is here. What it says holds, as everybody sees who knows the set that signed it.
    pub(super) fn announced(&mut self, place: usize, height: Height) {
        let Some(peer) = self.peers.get(place).filter(|peer| peer.is_up) else { return };
        let id = peer.id;
        self.tip.heard(self.plan, place, height..=height, self.now);
        self.log.tells(self.now, place, "announces", height, self.plan);
        self.judge(Announced { peer: id, height, message: place });
    }

    /// What a node's driver does about an announcement.
    fn judge(&mut self, announced: Announced<usize>) {
        let Announced { peer, height, message: place } = announced;
        if height <= self.machine.decided {
            let _ = self.inform(Input::PeerHinted { peer, height });
            return;
        }
        if !self.machine.knows_signers(self.plan, height) {
            let _ = self.inform(Input::PeerHinted { peer, height });
            let _ = self.early.keep(announced, self.machine.decided);
            return;
        }
        let _ = self.inform(Input::PeerAnnounced { peer, height });
        if self.scheduler.wants_value(height) {
            self.machine.fetched(Fetched { peer: place, heights: height..height + 1, wrong: None });
            let _ = self.inform(Input::HeldValues(self.machine.held_values()));
        }
    }

    fn judge_kept(&mut self) {
        for announced in self.early.take() {
            self.judge(announced);
        }
    }

    /// A validator set came.
    pub(super) fn learned_set(&mut self, set: u64) {
        self.machine.learn_set(set);
        let _ = self.inform(Input::HaveValidatorSet(root_of(set)));
        self.judge_kept();
    }

    pub(super) fn committed(&mut self) {
        let Some((peer, wrong)) = self.machine.committed(self.plan) else { return };
        let _ = self.inform(Input::Decided(self.machine.decided));
        self.log.committed(self.now, self.machine.decided);
        let next = self.machine.decided + 1;
        if !self.machine.knows_signers(self.plan, next) {
            let set = self.plan.growth.as_ref().map_or(0, |growth| growth.set_of(next));
            let _ = self.inform(Input::WantValidatorSet { root: root_of(set), height: next });
        }
        self.judge_kept();
        if let Some(height) = wrong {
            self.charge(peer, lapis_p2p::Offence::InvalidData);
            if let Some(source) = self.peers.get(peer).map(|peer| SourceId::Peer(peer.id)) {
                let _ = self.inform(Input::FaultyValue { source, height });
            }
        }
    }
}
