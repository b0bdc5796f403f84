//! Permits per key: so many holders at a time, others wait in order. Keys that nobody uses cost nothing.

use std::{
    collections::HashMap,
    fmt::Debug,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Hands out permits; clones share them.
#[derive(Debug)]
pub(crate) struct KeyedPermits<K> {
    table: Arc<Table<K>>,
}

#[derive(Debug)]
struct Table<K> {
    per_key: usize,
    keys: Mutex<HashMap<K, Arc<Semaphore>>>,
}

/// A permit, given back when dropped.
#[derive(Debug)]
pub(crate) struct KeyedPermit<K: Eq + Hash> {
    // Dropped first: the key is looked at when its permits are back.
    _permit: OwnedSemaphorePermit,
    _interest: Interest<K>,
}

/// Somebody holds or waits for a permit of the key. The last one to lose interest removes the key.
#[derive(Debug)]
struct Interest<K: Eq + Hash> {
    table: Arc<Table<K>>,
    key: K,
    semaphore: Option<Arc<Semaphore>>,
}

impl<K> Clone for KeyedPermits<K> {
    fn clone(&self) -> Self {
        Self { table: self.table.clone() }
    }
}

impl<K: Clone + Debug + Eq + Hash> KeyedPermits<K> {
    /// `per_key` permits for each key, at least 1.
    pub(crate) fn new(per_key: usize) -> Self {
        Self { table: Arc::new(Table { per_key: per_key.max(1), keys: Mutex::default() }) }
    }

    /// Waits for a permit, first come first served. Cancel-safe; a cancelled call loses its place.
    pub(crate) async fn acquire(&self, key: K) -> KeyedPermit<K> {
        loop {
            let (interest, semaphore) = self.interest(key.clone());
            // Semaphores are never closed, so this does not loop.
            if let Ok(permit) = semaphore.acquire_owned().await {
                return KeyedPermit { _permit: permit, _interest: interest };
            }
        }
    }

    /// A permit if one is free.
    pub(crate) fn try_acquire(&self, key: K) -> Option<KeyedPermit<K>> {
        let (interest, semaphore) = self.interest(key);
        let permit = semaphore.try_acquire_owned().ok()?;
        Some(KeyedPermit { _permit: permit, _interest: interest })
    }

    /// Keys that somebody holds or waits for.
    #[cfg(test)]
    pub(crate) fn keys_in_use(&self) -> usize {
        self.table.keys().len()
    }

    fn interest(&self, key: K) -> (Interest<K>, Arc<Semaphore>) {
        let mut keys = self.table.keys();
        let semaphore = keys.entry(key.clone()).or_insert_with(|| Arc::new(Semaphore::new(self.table.per_key))).clone();
        drop(keys);
        let interest = Interest { table: self.table.clone(), key, semaphore: Some(semaphore.clone()) };
        (interest, semaphore)
    }
}

impl<K> Table<K> {
    fn keys(&self) -> MutexGuard<'_, HashMap<K, Arc<Semaphore>>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash> Drop for Interest<K> {
    fn drop(&mut self) {
        let mut keys = self.table.keys();
        self.semaphore = None;
        // References are only taken under this lock, so the count cannot rise meanwhile.
        if keys.get(&self.key).is_some_and(|semaphore| Arc::strong_count(semaphore) == 1) {
            keys.remove(&self.key);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use futures::FutureExt;
    use rand::{Rng, SeedableRng, rngs::StdRng};

    use super::*;

    #[test]
    fn as_many_as_allowed_per_key_and_no_more() {
        let permits = KeyedPermits::new(2);
        let (a, b) = (permits.try_acquire(1).unwrap(), permits.try_acquire(1).unwrap());
        assert!(permits.try_acquire(1).is_none());
        let other = permits.try_acquire(2).unwrap();
        drop(a);
        let c = permits.try_acquire(1).unwrap();
        assert_eq!(permits.keys_in_use(), 2);
        drop((b, c, other));
        assert_eq!(permits.keys_in_use(), 0);
    }

    #[test]
    fn waiters_are_served_in_order_and_may_give_up() {
        let permits = KeyedPermits::new(1);
        let held = permits.try_acquire(1).unwrap();
        let mut first = Box::pin(permits.acquire(1));
        let mut second = Box::pin(permits.acquire(1));
        let mut third = Box::pin(permits.acquire(1));
        assert!(first.as_mut().now_or_never().is_none());
        assert!(second.as_mut().now_or_never().is_none());
        assert!(third.as_mut().now_or_never().is_none());
        drop(first);
        drop(held);
        assert!(third.as_mut().now_or_never().is_none(), "second was before third");
        let held = second.as_mut().now_or_never().unwrap();
        drop((held, second));
        assert!(third.as_mut().now_or_never().is_some());
        drop(third);
        assert_eq!(permits.keys_in_use(), 0);
    }

    /// Permits are taken, waited for, given back and given up in random order; nothing stays behind.
    #[test]
    fn a_hundred_thousand_random_outcomes_leave_no_permit_behind() {
        let mut rng = StdRng::seed_from_u64(7);
        let permits = KeyedPermits::new(2);
        let mut held = Vec::new();
        let mut waiting = Vec::new();
        for _ in 0..100_000 {
            let key = rng.random_range(0..8_u8);
            match rng.random_range(0..5) {
                0 => held.extend(permits.try_acquire(key)),
                1 if waiting.len() < 64 => waiting.push(Box::pin({
                    let permits = permits.clone();
                    async move { permits.acquire(key).await }
                })),
                2 if !held.is_empty() => drop(held.swap_remove(rng.random_range(0..held.len()))),
                3 if !waiting.is_empty() => drop(waiting.swap_remove(rng.random_range(0..waiting.len()))),
                _ => waiting.retain_mut(|future| match future.as_mut().now_or_never() {
                    Some(permit) => {
                        held.push(permit);
                        false
                    }
                    None => true,
                }),
            }
        }
        drop((held, waiting));
        assert_eq!(permits.keys_in_use(), 0);
    }
}
