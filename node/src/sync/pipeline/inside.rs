//! Which items are in the pipeline, so that none is in it twice.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};

use crate::sync::scheduler::Item;

/// Items between the entrance and the store. As many as the scheduler has reserved bytes for.
#[derive(Clone, Debug, Default)]
pub(super) struct Inside(Arc<Mutex<HashSet<Item>>>);

impl Inside {
    /// Lets `item` in; `false` if it is inside.
    pub(super) fn enter(&self, item: Item) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(item)
    }

    /// `items` have come out, stored or not.
    pub(super) fn leave<'a>(&self, items: impl IntoIterator<Item = &'a Item>) {
        let mut inside = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for item in items {
            inside.remove(item);
        }
    }
}
