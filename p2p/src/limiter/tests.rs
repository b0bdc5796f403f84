#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::{FutureExt, future::join_all};
use prometheus_client::registry::Registry;

use super::*;
use crate::Quota;

const AMPLE: u32 = 1 << 30;
const BLOB: usize = 131_184;

fn quota(per_second: u32, burst: u32) -> Quota {
    Quota::new(per_second, burst).unwrap()
}

fn limiter(change: impl FnOnce(&mut RateLimits)) -> Limiter {
    let mut limits = RateLimits { announcements_per_peer: quota(AMPLE, AMPLE), ..RateLimits::ample() };
    change(&mut limits);
    Limiter::new(&limits, Metrics::new(&mut Registry::default()))
}

/// Runs `work` while the limiter is driven.
async fn driven<T>(limiter: &Limiter, work: impl Future<Output = T>) -> T {
    tokio::select! {
        () = limiter.drive() => panic!("ended"),
        done = tokio::time::timeout(Duration::from_secs(60), work) => done.unwrap(),
    }
}

#[test]
fn bytes_are_charged_in_whole_kib_without_overflow() {
    assert_eq!([kib(0), kib(1), kib(1024), kib(1025), kib(usize::MAX)], [0, 1, 1, 2, u32::MAX]);
}

/// Waits far longer than the test: whether a call waits at all is what counts.
#[tokio::test]
async fn a_full_bucket_lets_through_at_once_and_an_empty_one_withholds() {
    let limiter = limiter(|limits| limits.egress_kib_per_peer = quota(1, 256));
    let (peer, other) = (PeerId::random(), PeerId::random());
    assert!(limiter.egress(peer, Class::CatchUp, 256 * 1024, 0).now_or_never().is_some());
    assert!(limiter.egress(peer, Class::CatchUp, 100 * 1024, 0).now_or_never().is_none());
    assert!(
        limiter.egress(peer, Class::NearHead, 100 * 1024, 0).now_or_never().is_none(),
        "one bucket for all it asks"
    );
    assert!(limiter.egress(peer, Class::CatchUp, 1024, 1024).now_or_never().is_some(), "paid already");
    assert!(limiter.egress(other, Class::CatchUp, 256 * 1024, 0).now_or_never().is_some(), "a bucket for each peer");
}

#[tokio::test]
async fn the_common_bucket_is_shared() {
    let limiter = limiter(|limits| limits.egress_kib = quota(1, 256));
    assert!(limiter.egress(PeerId::random(), Class::CatchUp, 256 * 1024, 0).now_or_never().is_some());
    assert!(limiter.egress(PeerId::random(), Class::CatchUp, 100 * 1024, 0).now_or_never().is_none());
}

#[tokio::test]
async fn a_cost_above_the_bucket_is_paid_in_slices() {
    let limiter = limiter(|limits| limits.egress_kib_per_peer = quota(1_000_000, 200));
    driven(&limiter, limiter.egress(PeerId::random(), Class::CatchUp, 10 * 1024 * 1024, 0)).await;
}

#[tokio::test]
async fn requests_are_withheld_per_peer_in_both_directions() {
    let limiter = limiter(|limits| {
        limits.requests_per_peer = quota(1, 2);
        limits.own_requests_per_peer = quota(1, 2);
    });
    let peer = PeerId::random();
    for _ in 0..2 {
        assert!(limiter.request(peer, Class::CatchUp).now_or_never().is_some());
        assert!(limiter.own_request(peer, Class::CatchUp).now_or_never().is_some());
    }
    assert!(limiter.request(peer, Class::CatchUp).now_or_never().is_none());
    assert!(limiter.own_request(peer, Class::CatchUp).now_or_never().is_none());
    assert!(limiter.own_request(PeerId::random(), Class::CatchUp).now_or_never().is_some());
}

#[tokio::test]
async fn received_bytes_are_paid_for_by_peer_and_in_total() {
    let (peer, other) = (PeerId::random(), PeerId::random());
    for change in
        [(|limits: &mut RateLimits| limits.ingress_kib_per_peer = quota(1, 256)) as fn(&mut RateLimits), |limits| {
            limits.ingress_kib = quota(1, 256)
        }]
    {
        let limiter = limiter(change);
        assert!(limiter.ingress(peer, 256 * 1024).now_or_never().is_some());
        assert!(limiter.ingress(peer, 64 * 1024).now_or_never().is_none());
    }
    let limiter = limiter(|limits| limits.ingress_kib_per_peer = quota(1, 256));
    assert!(limiter.ingress(peer, 256 * 1024).now_or_never().is_some());
    assert!(limiter.ingress(other, 256 * 1024).now_or_never().is_some());
}

/// Each peer takes blobs one after the other on each of its streams until `total` are taken.
async fn taken_by(limiter: &Limiter, streams: &[PeerId], total: usize) -> HashMap<PeerId, usize> {
    let taken = Arc::new(Mutex::new(Vec::new()));
    let streams = streams.iter().map(|peer| {
        let taken = taken.clone();
        async move {
            while taken.lock().unwrap().len() < total {
                limiter.egress(*peer, Class::CatchUp, BLOB, 0).await;
                taken.lock().unwrap().push(*peer);
            }
        }
    });
    driven(limiter, join_all(streams)).await;
    let mut counts = HashMap::new();
    for peer in taken.lock().unwrap().iter().take(total) {
        *counts.entry(*peer).or_insert(0) += 1;
    }
    counts
}

#[tokio::test]
async fn one_peer_with_many_streams_gets_no_more_than_one_with_a_single_stream() {
    let limiter = limiter(|limits| limits.egress_kib = quota(20_000, 129));
    let (greedy, modest) = (PeerId::random(), PeerId::random());
    let counts = taken_by(&limiter, &[greedy, greedy, greedy, greedy, greedy, greedy, modest], 200).await;
    assert!(counts[&greedy].abs_diff(counts[&modest]) <= 10, "{counts:?}");
}

#[tokio::test]
async fn those_who_give_up_hold_nobody_up() {
    let limiter = limiter(|limits| limits.egress_kib = quota(20_000, 129));
    let peers: Vec<_> = (0..20).map(|_| PeerId::random()).collect();
    let work = async {
        for round in 0..50 {
            let mut waiting: Vec<_> =
                peers.iter().map(|peer| Box::pin(limiter.egress(*peer, Class::CatchUp, BLOB, 0))).collect();
            waiting.retain_mut(|future| future.as_mut().now_or_never().is_none());
            let last = waiting.swap_remove(round % waiting.len());
            drop(waiting);
            last.await;
        }
    };
    driven(&limiter, work).await;
    assert!(limiter.waiting().iter().all(|(_, waiting)| *waiting == 0), "{:?}", limiter.waiting());
}

#[tokio::test]
async fn idle_peers_are_forgotten() {
    let limiter = limiter(|_| {});
    for _ in 0..100 {
        let peer = PeerId::random();
        limiter.request(peer, Class::CatchUp).await;
        limiter.own_request(peer, Class::CatchUp).await;
        limiter.egress(peer, Class::NearHead, BLOB, 0).await;
        limiter.ingress(peer, BLOB).await;
        assert!(limiter.announcement(peer));
    }
    assert!(limiter.remembered() >= 100);
    limiter.forget_idle();
    assert_eq!(limiter.remembered(), 0);
}
