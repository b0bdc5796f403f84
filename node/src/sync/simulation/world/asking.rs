//! What the scheduler decides is done: exchanges are begun, and given up.

use super::{Event, World};
use crate::sync::{
    scheduler::{Action, Outcome as ExchangeOutcome, SourceId},
    simulation::{
        exchange::Exchange,
        peer::{Conduct, PeerPlan},
    },
    trace::Decisions,
};

impl World<'_> {
    pub(super) fn follow(&mut self, decisions: Decisions) {
        for id in decisions.cancel {
            self.log.event(self.now, id, "cancel", String::new);
            self.given_up.insert(id);
            self.close(id, ExchangeOutcome::Local, None);
        }
        for action in decisions.ask {
            self.ask(&action);
        }
    }

    fn ask(&mut self, action: &Action) {
        let place = match action.source {
            SourceId::Peer(peer) => self.places.get(&peer).copied(),
            SourceId::Archive(_) | SourceId::Pool => None,
        };
        let exchange = place.and_then(|place| {
            let is_over_quota = self.is_over_quota(place);
            let head = self.peers.get(place)?.head;
            Exchange::new(place, self.plan, head, &action.fetch, is_over_quota, &mut self.rng)
        });
        let (Some(place), Some(exchange)) = (place, exchange) else { return };
        self.tally.requests += 1;
        self.log.asked(self.now, action, place, self.plan);
        let Some(PeerPlan { latency, conduct, .. }) = self.plan.peers.get(place).copied() else { return };
        if !conduct.is_honest() {
            self.tip.trouble(exchange.heights.clone());
        }
        // There and back to agree on what the stream is for, and there with the request.
        let ways = if self.plan.machine.first_window.is_some() { 3 } else { 1 };
        self.queue.plan(self.now + latency * ways + exchange.delay, Event::Begin(action.id));
        self.exchanges.insert(action.id, exchange);
    }

    fn is_over_quota(&mut self, place: usize) -> bool {
        let (Some(planned), Some(peer)) = (self.plan.peers.get(place), self.peers.get_mut(place)) else { return false };
        let Conduct::RateLimited { per_second } = planned.conduct else { return false };
        let second = self.now.as_secs();
        if peer.asked.0 != second {
            peer.asked = (second, 0);
        }
        peer.asked.1 += 1;
        peer.asked.1 > per_second
    }
}
