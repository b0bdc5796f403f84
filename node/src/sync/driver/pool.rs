//! The execution client's pool: the way to it, and news of whether it may be asked.

use std::sync::Arc;

use tokio::sync::watch;

use crate::sync::pool::BlobPool;

/// The pool, if this node asks one.
#[derive(Debug)]
pub(super) struct Pool {
    pool: Option<Arc<dyn BlobPool>>,
    /// `None` once its other end is gone.
    availability: Option<watch::Receiver<bool>>,
}

impl Pool {
    /// What is known at first counts as news.
    pub(super) fn new(pool: Option<Arc<dyn BlobPool>>) -> Self {
        let mut availability = pool.as_ref().map(|pool| pool.availability());
        if let Some(availability) = &mut availability {
            availability.mark_changed();
        }
        Self { pool, availability }
    }

    /// The way to it.
    pub(super) fn get(&self) -> Option<Arc<dyn BlobPool>> {
        self.pool.clone()
    }

    /// Waits until the client says whether it can be asked. Cancel-safe.
    pub(super) async fn changed(&mut self) -> bool {
        let Some(availability) = &mut self.availability else { return std::future::pending().await };
        if availability.changed().await.is_err() {
            self.availability = None;
            return false;
        }
        *availability.borrow_and_update()
    }
}
