//! How fast requests and bytes go in and out: token buckets of each peer and of all, for what is served and for what is
//! fetched. Whoever is over a quota waits; only announcements, which nobody waits for, are turned away.
//!
//! Who waits is served in the order that [`shaper`] decides, which is pure; [`gate`] is the loop around it.

mod gate;
mod shaper;

use std::time::Instant;

use governor::{DefaultKeyedRateLimiter, RateLimiter};
use libp2p::PeerId;

use crate::{
    limits::{KIB, RateLimits},
    metrics::Metrics,
};

use gate::Gate;
use shaper::Shaper;

pub(crate) use shaper::Class;

/// All buckets of a node. Nobody gets through who has to wait, unless it is [driven](Limiter::drive).
#[derive(Debug)]
pub(crate) struct Limiter {
    requests: Gate,
    egress: Gate,
    own_requests: Gate,
    ingress: Gate,
    announcements: DefaultKeyedRateLimiter<PeerId>,
    metrics: Metrics,
}

impl Limiter {
    pub(crate) fn new(limits: &RateLimits, metrics: Metrics) -> Self {
        let share = limits.near_head.share_percent;
        let gate = |per_peer, common| Gate::new(Shaper::new(per_peer, common, share));
        Self {
            requests: gate(limits.requests_per_peer, limits.requests),
            egress: gate(limits.egress_kib_per_peer, limits.egress_kib),
            own_requests: gate(limits.own_requests_per_peer, limits.own_requests),
            ingress: gate(limits.ingress_kib_per_peer, limits.ingress_kib),
            announcements: RateLimiter::keyed(limits.announcements_per_peer.to_governor()),
            metrics,
        }
    }

    /// Waits until the peer's next request may be answered. Cancel-safe.
    pub(crate) async fn request(&self, peer: PeerId, class: Class) {
        self.pass("requests", &self.requests, peer, class, 1).await;
    }

    /// Waits until `bytes` may be sent to the peer, of which `charged` are paid for already. Cancel-safe.
    pub(crate) async fn egress(&self, peer: PeerId, class: Class, bytes: usize, charged: usize) {
        let cells = kib(bytes).saturating_sub(kib(charged));
        self.pass("egress", &self.egress, peer, class, cells).await;
    }

    /// Waits until the peer may be sent one more request of ours. Cancel-safe.
    pub(crate) async fn own_request(&self, peer: PeerId, class: Class) {
        self.pass("own_requests", &self.own_requests, peer, class, 1).await;
    }

    /// Waits until `bytes`, which were received from the peer, are paid for. Cancel-safe as long as the caller then asks
    /// again.
    pub(crate) async fn ingress(&self, peer: PeerId, bytes: usize) {
        self.pass("ingress", &self.ingress, peer, Class::CatchUp, kib(bytes)).await;
    }

    /// Whether the peer may pass on one more announcement now.
    pub(crate) fn announcement(&self, peer: PeerId) -> bool {
        self.announcements.check_key(&peer).is_ok()
    }

    async fn pass(&self, bucket: &'static str, gate: &Gate, peer: PeerId, class: Class, cells: u32) {
        let start = Instant::now();
        gate.pass(peer, class, cells).await;
        self.metrics.waited(bucket, start.elapsed());
    }

    /// Lets those through who wait, for ever.
    pub(crate) async fn drive(&self) {
        let [requests, egress, own_requests, ingress] = self.gates().map(|(_, gate)| gate.drive());
        tokio::join!(requests, egress, own_requests, ingress);
    }

    /// Forgets peers whose buckets are full again.
    pub(crate) fn forget_idle(&self) {
        for (_, gate) in self.gates() {
            gate.forget_idle();
        }
        self.announcements.retain_recent();
        self.announcements.shrink_to_fit();
    }

    /// How many wait for each bucket.
    pub(crate) fn waiting(&self) -> [(&'static str, usize); 4] {
        self.gates().map(|(name, gate)| (name, gate.waiting()))
    }

    const fn gates(&self) -> [(&'static str, &Gate); 4] {
        [
            ("requests", &self.requests),
            ("egress", &self.egress),
            ("own_requests", &self.own_requests),
            ("ingress", &self.ingress),
        ]
    }

    #[cfg(test)]
    fn remembered(&self) -> usize {
        self.gates().map(|(_, gate)| gate.remembered()).iter().sum::<usize>() + self.announcements.len()
    }
}

/// Whole KiB that hold `bytes`.
fn kib(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(KIB as usize)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
