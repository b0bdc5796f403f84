//! Token buckets, and the order in which those who wait for them are served.
//!
//! A bucket is never asked for more than it holds: costs are charged in slices. Of one peer's exchanges one at a time
//! waits for tokens, and of all peers one slice at a time waits for the common bucket, first come first served. So with
//! n greedy peers each gets its n-th part, however many streams it has.

use std::{num::NonZeroU32, time::Instant};

use governor::{
    DefaultDirectRateLimiter, DefaultKeyedRateLimiter, RateLimiter,
    clock::{Clock, DefaultClock},
};
use libp2p::PeerId;
use tokio::sync::Mutex;

use crate::{
    limits::{KIB, LARGEST_FIXED_ITEM_KIB, Quota, RateLimits},
    metrics::Metrics,
    permits::KeyedPermits,
};

/// A bucket for each peer, and one for all.
#[derive(Debug)]
struct Buckets {
    per_peer: DefaultKeyedRateLimiter<PeerId>,
    common: DefaultDirectRateLimiter,
    slice: u32,
    turns: KeyedPermits<PeerId>,
    /// Fair: those who wait for the lock get it in order.
    common_turn: Mutex<()>,
    clock: DefaultClock,
}

impl Buckets {
    fn new(per_peer: Quota, common: Quota) -> Self {
        Self {
            per_peer: RateLimiter::keyed(per_peer.to_governor()),
            common: RateLimiter::direct(common.to_governor()),
            slice: per_peer.burst.min(common.burst).get().min(LARGEST_FIXED_ITEM_KIB),
            turns: KeyedPermits::new(1),
            common_turn: Mutex::new(()),
            clock: DefaultClock::default(),
        }
    }

    /// Waits until `cells` are free in both buckets, and takes them.
    async fn take(&self, peer: PeerId, cells: u32) {
        let _turn = self.turns.acquire(peer).await;
        let mut left = cells;
        while let Some(slice) = NonZeroU32::new(left.min(self.slice)) {
            while let Ok(Err(not_until)) = self.per_peer.check_key_n(&peer, slice) {
                tokio::time::sleep(not_until.wait_time_from(self.clock.now())).await;
            }
            let _turn = self.common_turn.lock().await;
            wait_direct(&self.common, &self.clock, slice).await;
            left -= slice.get();
        }
    }
}

/// Waits until `cells`, no more than the bucket holds, are free, and takes them.
async fn wait_direct(bucket: &DefaultDirectRateLimiter, clock: &DefaultClock, cells: NonZeroU32) {
    while let Ok(Err(not_until)) = bucket.check_n(cells) {
        tokio::time::sleep(not_until.wait_time_from(clock.now())).await;
    }
}

/// All buckets of a node.
#[derive(Debug)]
pub(crate) struct Limiter {
    requests: Buckets,
    announcements: DefaultKeyedRateLimiter<PeerId>,
    egress: Buckets,
    ingress: DefaultDirectRateLimiter,
    ingress_slice: u32,
    clock: DefaultClock,
    metrics: Metrics,
}

impl Limiter {
    pub(crate) fn new(limits: &RateLimits, metrics: Metrics) -> Self {
        Self {
            requests: Buckets::new(limits.requests_per_peer, limits.requests),
            announcements: RateLimiter::keyed(limits.announcements_per_peer.to_governor()),
            egress: Buckets::new(limits.egress_kib_per_peer, limits.egress_kib),
            ingress: RateLimiter::direct(limits.ingress_kib.to_governor()),
            ingress_slice: limits.ingress_kib.burst.get(),
            clock: DefaultClock::default(),
            metrics,
        }
    }

    /// Waits until the peer's next request may be answered.
    pub(crate) async fn request(&self, peer: PeerId) {
        let start = Instant::now();
        self.requests.take(peer, 1).await;
        self.metrics.waited("requests", start.elapsed());
    }

    /// Whether the peer may pass on one more announcement now.
    pub(crate) fn announcement(&self, peer: PeerId) -> bool {
        self.announcements.check_key(&peer).is_ok()
    }

    /// Waits until `bytes` may be sent to the peer.
    pub(crate) async fn egress(&self, peer: PeerId, bytes: usize) {
        let start = Instant::now();
        self.egress.take(peer, kib(bytes)).await;
        self.metrics.waited("egress", start.elapsed());
    }

    /// Waits until `bytes`, which were received, are paid for. Cancel-safe as long as the caller then asks again.
    pub(crate) async fn ingress(&self, bytes: usize) {
        let start = Instant::now();
        let mut left = kib(bytes);
        while let Some(slice) = NonZeroU32::new(left.min(self.ingress_slice)) {
            wait_direct(&self.ingress, &self.clock, slice).await;
            left -= slice.get();
        }
        self.metrics.waited("ingress", start.elapsed());
    }

    /// Forgets peers whose buckets are full again.
    pub(crate) fn forget_idle(&self) {
        for per_peer in [&self.requests.per_peer, &self.egress.per_peer, &self.announcements] {
            per_peer.retain_recent();
            per_peer.shrink_to_fit();
        }
    }

    #[cfg(test)]
    fn remembered(&self) -> usize {
        self.requests.per_peer.len() + self.egress.per_peer.len() + self.announcements.len()
    }
}

/// Whole KiB that hold `bytes`.
fn kib(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(KIB as usize)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
