//! Peers come and go, change what they claim, and pay for what they do.

use std::time::Duration;

use lapis_p2p::{Offence, ScoreRules, Verdict};

use super::{AWAY, Event, WAVER, World};
use crate::sync::{
    scheduler::{Input, Outcome as ExchangeOutcome, RequestId},
    simulation::peer::Presence,
};

impl World<'_> {
    pub(super) fn up(&mut self, place: usize) {
        let (Some(planned), Some(peer)) = (self.plan.peers.get(place), self.peers.get_mut(place)) else { return };
        if peer.is_banned || peer.is_up {
            return;
        }
        peer.is_up = true;
        if let Presence::Churning { up, .. } = planned.presence() {
            self.queue.plan(self.now + up, Event::Down(place));
        }
        let (peer, head, status) = (peer.id, peer.head, planned.status(peer.head, peer.is_boasting));
        self.log.peer(self.now, place, "comes", self.plan);
        let _ = self.inform(Input::PeerStatus { peer, status });
        self.tip.heard(self.plan, place, 1..=head, self.now);
    }

    /// A peer goes; `away` says for how long, if that is not its own doing.
    pub(super) fn leave(&mut self, place: usize, away: Option<Duration>) {
        let (Some(planned), Some(peer)) = (self.plan.peers.get(place), self.peers.get_mut(place)) else { return };
        if !peer.is_up {
            return;
        }
        peer.is_up = false;
        let back = match (away, planned.presence()) {
            (Some(away), _) => away,
            (None, Presence::Churning { down, .. }) => down,
            (None, Presence::Always | Presence::From(_)) => AWAY,
        };
        self.queue.plan(self.now + back, Event::Up(place));
        let peer = peer.id;
        self.log.peer(self.now, place, "goes", self.plan);
        let _ = self.inform(Input::PeerGone { peer });
        let open = self.exchanges.iter().filter(|(_, exchange)| exchange.peer == place);
        let open: Vec<RequestId> = open.map(|(id, _)| *id).collect();
        for (number, id) in open.into_iter().enumerate() {
            // One connection is lost, however many exchanges it carried; none is if it was closed from this side.
            let offence = (number == 0 && away.is_none()).then_some((place, Offence::Reset));
            self.close(id, ExchangeOutcome::Broken, offence);
        }
    }

    pub(super) fn waver(&mut self, place: usize) {
        self.queue.plan(self.now + WAVER, Event::Waver(place));
        let (Some(planned), Some(peer)) = (self.plan.peers.get(place), self.peers.get_mut(place)) else { return };
        peer.is_boasting = !peer.is_boasting;
        if peer.is_up {
            let (peer, status) = (peer.id, planned.status(peer.head, peer.is_boasting));
            let _ = self.inform(Input::PeerStatus { peer, status });
        }
    }

    pub(super) fn charge(&mut self, place: usize, offence: Offence) {
        let now = self.instant();
        let Some(peer) = self.peers.get_mut(place) else { return };
        if peer.is_banned {
            return;
        }
        match peer.score.charge(offence, now, &ScoreRules::default()) {
            Verdict::Keep => {}
            Verdict::Disconnect => self.leave(place, Some(AWAY)),
            Verdict::Ban { .. } => {
                peer.is_banned = true;
                self.tally.banned += 1;
                if self.plan.peers.get(place).is_some_and(|planned| planned.conduct.is_honest()) {
                    self.tally.honest_banned.push(place);
                }
                self.log.peer(self.now, place, "is banned", self.plan);
                self.leave(place, Some(AWAY));
            }
        }
    }
}
