//! Waiting for a [`Shaper`]: the loop between it and the clock.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use libp2p::PeerId;
use tokio::sync::{Notify, oneshot};

use super::shaper::{Class, Place, Shaper};

/// A [`Shaper`] that can be waited for, as long as somebody [drives](Gate::drive) it.
#[derive(Debug)]
pub(super) struct Gate {
    beginning: Instant,
    shaper: Mutex<Shaper<oneshot::Sender<()>>>,
    /// Somebody waits who did not before.
    changed: Notify,
}

impl Gate {
    pub(super) fn new(shaper: Shaper<oneshot::Sender<()>>) -> Self {
        Self { beginning: Instant::now(), shaper: Mutex::new(shaper), changed: Notify::new() }
    }

    /// Waits until `cells` are paid for. A call that is dropped has given up its place.
    pub(super) async fn pass(&self, peer: PeerId, class: Class, cells: u32) {
        if cells == 0 {
            return;
        }
        let (mut waiting, granted) = self.wait(peer, class, cells);
        // The sender is kept until it is used, unless this call gives up.
        let _ = granted.await;
        waiting.place = None;
    }

    /// Takes a place, whose turn may have come at once.
    fn wait(&self, peer: PeerId, class: Class, cells: u32) -> (Waiting<'_>, oneshot::Receiver<()>) {
        let (sender, granted) = oneshot::channel();
        let mut shaper = self.shaper();
        let now = self.now();
        let place = shaper.enqueue(peer, class, cells, sender, now);
        if advance(&mut shaper, now).is_some() {
            self.changed.notify_one();
        }
        (Waiting { gate: self, place: Some(place) }, granted)
    }

    /// Grants what is due when it is due, for ever.
    pub(super) async fn drive(&self) {
        loop {
            let next = advance(&mut self.shaper(), self.now());
            let due = async {
                match next {
                    Some(at) => tokio::time::sleep_until((self.beginning + at).into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = due => {}
                () = self.changed.notified() => {}
            }
        }
    }

    pub(super) fn forget_idle(&self) {
        self.shaper().forget_idle(self.now());
    }

    /// How many wait.
    pub(super) fn waiting(&self) -> usize {
        self.shaper().waiting()
    }

    #[cfg(test)]
    pub(super) fn remembered(&self) -> usize {
        self.shaper().remembered()
    }

    fn now(&self) -> Duration {
        self.beginning.elapsed()
    }

    fn shaper(&self) -> MutexGuard<'_, Shaper<oneshot::Sender<()>>> {
        self.shaper.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells those whose turn it is. Returns when that is to be done again.
fn advance(shaper: &mut Shaper<oneshot::Sender<()>>, now: Duration) -> Option<Duration> {
    for granted in shaper.advance(now) {
        // Who has given up in this moment does not need it.
        let _ = granted.send(());
    }
    shaper.next()
}

/// A place in the queue, given up when dropped.
struct Waiting<'a> {
    gate: &'a Gate,
    /// `None` when the turn has come.
    place: Option<Place>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let Some(place) = self.place else { return };
        let now = self.gate.now();
        self.gate.shaper().cancel(place, now);
        // The turn may now be that of somebody who can have it at once.
        self.gate.changed.notify_one();
    }
}
