//! How many blobs a peer may send.

use std::sync::Arc;

use tokio::sync::watch;

#[derive(Clone, Copy, Debug)]
struct Blobs {
    allowed: usize,
    taken: usize,
}

/// Blobs that may be sent in all. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Allowance(Arc<watch::Sender<Blobs>>);

impl Allowance {
    /// As many as there are.
    pub(super) fn unlimited() -> Self {
        Self(Arc::new(watch::Sender::new(Blobs { allowed: usize::MAX, taken: 0 })))
    }

    /// From now on `allowed` since the start.
    pub(super) fn set(&self, allowed: usize) {
        self.0.send_modify(|blobs| blobs.allowed = allowed);
    }

    /// From now on `more`, however many have been taken.
    pub(super) fn add(&self, more: usize) {
        self.0.send_modify(|blobs| blobs.allowed = blobs.taken.saturating_add(more));
    }

    /// Waits until none is left.
    pub(super) async fn used_up(&self) {
        let mut view = self.0.subscribe();
        // The sender is held here.
        let _ = view.wait_for(|blobs| blobs.taken >= blobs.allowed).await;
    }

    /// Waits until another one may be sent.
    pub(super) async fn take(&self) {
        let mut view = self.0.subscribe();
        while !self.0.send_if_modified(Blobs::take) {
            // The sender is held here.
            let _ = view.changed().await;
        }
    }
}

impl Blobs {
    /// Takes one, if one is left.
    fn take(&mut self) -> bool {
        let left = self.taken < self.allowed;
        if left {
            self.taken += 1;
        }
        left
    }
}
