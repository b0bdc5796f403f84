//! Peers send what they are asked for: each at its rate, each stream as far as its window is open.

use std::time::Duration;

use super::{Event, World};
use crate::sync::{
    scheduler::RequestId,
    simulation::{
        exchange::{piece_bytes, window_opens},
        machine::over,
    },
};

impl World<'_> {
    /// The request is at the peer.
    pub(super) fn begin(&mut self, id: RequestId) {
        if let Some(exchange) = self.exchanges.get_mut(&id) {
            exchange.began = self.now;
        }
        self.serve(id);
    }

    /// The peer begins to send the next piece, or has sent all.
    pub(super) fn serve(&mut self, id: RequestId) {
        let Some(exchange) = self.exchanges.get(&id) else { return };
        let (Some(planned), Some(peer)) = (self.plan.peers.get(exchange.peer), self.peers.get_mut(exchange.peer))
        else {
            return;
        };
        match exchange.script.front() {
            Some(piece) => {
                let window = self.plan.machine.first_window;
                let opens = window.map(|window| window_opens(exchange.sent, window, planned.latency * 2));
                if let Some(opens) = opens.map(|opens| exchange.began + opens).filter(|opens| *opens > self.now) {
                    // Its other streams go on meanwhile.
                    self.queue.plan(opens, Event::Opened(id));
                    return;
                }
                peer.free = peer.free.max(self.now) + over(piece_bytes(self.plan, *piece), planned.rate);
                self.queue.plan(peer.free, Event::Served(id));
            }
            None => {
                let last = self.line_free.max(self.now + planned.latency);
                self.queue.plan(last + exchange.end.after, Event::Ended(id));
            }
        }
    }

    pub(super) fn served(&mut self, id: RequestId) {
        let Some(exchange) = self.exchanges.get_mut(&id) else { return };
        let latency = self.plan.peers.get(exchange.peer).map_or(Duration::ZERO, |planned| planned.latency);
        if let Some(piece) = exchange.script.pop_front() {
            let bytes = piece_bytes(self.plan, piece);
            exchange.sent += bytes;
            self.line_free = self.line_free.max(self.now + latency) + over(bytes, self.plan.machine.line);
            self.queue.plan(self.line_free, Event::Arrived(id, piece));
        }
        self.serve(id);
    }
}
