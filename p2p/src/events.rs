//! What the network tells its node, through a queue that never blocks the network and never grows beyond its bounds.
//!
//! Per peer at most three events wait: that it is gone, that it is ready (again), and its newest status. So a slow
//! reader misses intermediate statuses, and peers that came and went meanwhile, but never that a peer it knows is
//! gone. Announcements are dropped first, oldest first.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use lapis_protocol_spec::{DecidedValue, GoodbyeReason, Status};
use libp2p::{PeerId, gossipsub};
use tokio::sync::Notify;

/// Something that the node should know.
#[derive(Debug)]
pub enum Event {
    /// Statuses are exchanged and the chain is the same: requests may go to this peer.
    PeerReady {
        /// Who.
        peer: PeerId,
        /// Its claims.
        status: Status,
    },
    /// A ready peer has news of itself.
    PeerStatus {
        /// Who.
        peer: PeerId,
        /// Its claims.
        status: Status,
    },
    /// A peer that was ready is not connected any more.
    PeerGone {
        /// Who.
        peer: PeerId,
        /// Why.
        reason: GoneReason,
    },
    /// A peer says that a value is decided. Not verified; waits for [`crate::Handle::judge`] before it is forwarded.
    Announcement {
        /// Names the message in the judgement.
        message: AnnouncementId,
        /// Who passed it on; not necessarily who announced it first.
        source: PeerId,
        /// What is announced.
        decided: Box<DecidedValue>,
    },
}

/// Why a peer is not connected any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GoneReason {
    /// The connection closed without a word; the text says how.
    Closed(String),
    /// It said goodbye.
    Goodbye(GoodbyeReason),
    /// This node said goodbye.
    Disconnected(GoodbyeReason),
}

/// A received announcement that waits for judgement.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AnnouncementId {
    pub(crate) message: gossipsub::MessageId,
    pub(crate) source: PeerId,
}

/// The reading end. Ends when the service has.
#[derive(Debug)]
pub struct Events {
    shared: Arc<Shared>,
}

/// The writing end.
#[derive(Debug)]
pub(crate) struct EventSender {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Notify,
}

/// A queue that holds at most `announcements` announcements.
pub(crate) fn channel(announcements: usize) -> (EventSender, Events) {
    let queue = Mutex::new(Queue::new(announcements));
    let shared = Arc::new(Shared { queue, changed: Notify::new() });
    (EventSender { shared: shared.clone() }, Events { shared })
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EventSender {
    /// Never waits. What had to be dropped, if anything, is returned.
    pub(crate) fn send(&self, event: Event) -> Option<AnnouncementId> {
        let dropped = self.shared.queue().push(event);
        self.shared.changed.notify_one();
        dropped
    }
}

impl Drop for EventSender {
    fn drop(&mut self) {
        self.shared.queue().closed = true;
        self.shared.changed.notify_one();
    }
}

impl Events {
    /// The next event; `None` when the service has ended and everything was read. Cancel-safe.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            let changed = self.shared.changed.notified();
            {
                let mut queue = self.shared.queue();
                if let Some(event) = queue.pop() {
                    return Some(event);
                }
                if queue.closed {
                    return None;
                }
            }
            changed.await;
        }
    }
}

/// What waits for the reader about one peer, in the order in which it is told.
#[derive(Debug, Default)]
struct Pending {
    gone: Option<GoneReason>,
    ready: Option<Status>,
    status: Option<Status>,
}

#[derive(Debug)]
struct Queue {
    /// Peers that the reader takes to be ready.
    known: HashSet<PeerId>,
    pending: HashMap<PeerId, Pending>,
    /// The keys of `pending`, in the order in which they are told.
    order: VecDeque<PeerId>,
    announcements: VecDeque<Event>,
    capacity: usize,
    closed: bool,
}

impl Queue {
    fn new(capacity: usize) -> Self {
        Self {
            known: HashSet::new(),
            pending: HashMap::new(),
            order: VecDeque::new(),
            announcements: VecDeque::new(),
            capacity,
            closed: false,
        }
    }

    fn push(&mut self, event: Event) -> Option<AnnouncementId> {
        match event {
            Event::PeerReady { peer, status } => self.entry(peer).ready = Some(status),
            Event::PeerStatus { peer, status } => {
                let pending = self.entry(peer);
                let slot = if pending.ready.is_some() { &mut pending.ready } else { &mut pending.status };
                *slot = Some(status);
            }
            Event::PeerGone { peer, reason } => {
                if self.known.contains(&peer) {
                    *self.entry(peer) = Pending { gone: Some(reason), ready: None, status: None };
                } else if self.pending.remove(&peer).is_some() {
                    // It came and went unseen. So all that wait are connected or known, and that is bounded.
                    self.order.retain(|waiting| *waiting != peer);
                }
            }
            Event::Announcement { .. } => {
                let surplus = self.announcements.len() >= self.capacity;
                let dropped = if surplus { self.announcements.pop_front() } else { None };
                self.announcements.push_back(event);
                if let Some(Event::Announcement { message, .. }) = dropped {
                    return Some(message);
                }
            }
        }
        None
    }

    fn entry(&mut self, peer: PeerId) -> &mut Pending {
        self.pending.entry(peer).or_insert_with(|| {
            self.order.push_back(peer);
            Pending::default()
        })
    }

    fn pop(&mut self) -> Option<Event> {
        while let Some(peer) = self.order.pop_front() {
            let Some(pending) = self.pending.get_mut(&peer) else { continue };
            let event = pending.take(peer);
            // To the back, so that a peer with much news does not keep the others' from being read.
            if pending.is_empty() {
                drop(self.pending.remove(&peer))
            } else {
                self.order.push_back(peer)
            }
            let Some(event) = event else { continue };
            match event {
                Event::PeerReady { .. } => self.known.insert(peer),
                Event::PeerGone { .. } => self.known.remove(&peer),
                Event::PeerStatus { .. } | Event::Announcement { .. } => true,
            };
            return Some(event);
        }
        self.announcements.pop_front()
    }
}

impl Pending {
    fn is_empty(&self) -> bool {
        self.gone.is_none() && self.ready.is_none() && self.status.is_none()
    }

    fn take(&mut self, peer: PeerId) -> Option<Event> {
        if let Some(reason) = self.gone.take() {
            return Some(Event::PeerGone { peer, reason });
        }
        if let Some(status) = self.ready.take() {
            return Some(Event::PeerReady { peer, status });
        }
        self.status.take().map(|status| Event::PeerStatus { peer, status })
    }
}

#[cfg(test)]
mod tests;
