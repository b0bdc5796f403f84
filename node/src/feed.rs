//! The store's watermarks as a stream: how stages learn that the one before them has moved.

use lapis_storage::{Store, Watermarks};
use tokio::sync::watch;

/// Publishes the watermarks of one store. Cheap to clone.
#[derive(Clone, Debug)]
pub struct WatermarkFeed {
    store: Store,
    sender: watch::Sender<Watermarks>,
}

impl WatermarkFeed {
    /// A feed that starts with what `store` holds.
    pub fn new(store: Store) -> Self {
        let (sender, _) = watch::channel(store.watermarks());
        Self { store, sender }
    }

    /// Tells everybody where the store is now. To be called after every write that may have moved a watermark.
    pub fn refresh(&self) {
        // Read under the channel's lock: of two writers the later one cannot be overwritten by the earlier.
        self.sender.send_if_modified(|watermarks| {
            let now = self.store.watermarks();
            let moved = *watermarks != now;
            *watermarks = now;
            moved
        });
    }

    /// The watermarks as last published.
    pub fn current(&self) -> Watermarks {
        *self.sender.borrow()
    }

    /// A receiver that has seen nothing yet.
    pub fn subscribe(&self) -> watch::Receiver<Watermarks> {
        let mut receiver = self.sender.subscribe();
        receiver.mark_changed();
        receiver
    }
}
