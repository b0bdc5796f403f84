#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::{
    collections::HashMap,
    sync::{Arc, Mutex as StdMutex},
    time::Duration,
};

use futures::{FutureExt, future::join_all};
use prometheus_client::registry::Registry;

use super::*;

const AMPLE: u32 = 1 << 30;

fn quota(per_second: u32, burst: u32) -> Quota {
    Quota::new(per_second, burst).unwrap()
}

fn limiter(change: impl FnOnce(&mut RateLimits)) -> Limiter {
    let mut limits = RateLimits {
        requests_per_peer: quota(AMPLE, AMPLE),
        requests: quota(AMPLE, AMPLE),
        announcements_per_peer: quota(AMPLE, AMPLE),
        egress_kib_per_peer: quota(AMPLE, AMPLE),
        egress_kib: quota(AMPLE, AMPLE),
        ingress_kib: quota(AMPLE, AMPLE),
    };
    change(&mut limits);
    Limiter::new(&limits, Metrics::new(&mut Registry::default()))
}

#[test]
fn bytes_are_charged_in_whole_kib_without_overflow() {
    assert_eq!([kib(0), kib(1), kib(1024), kib(1025), kib(usize::MAX)], [0, 1, 1, 2, u32::MAX]);
}

/// Waits far longer than the test: whether a call waits at all is what counts.
#[tokio::test]
async fn a_full_bucket_lets_through_at_once_and_an_empty_one_withholds() {
    let limiter = limiter(|limits| limits.egress_kib_per_peer = Quota::new(1, 256).unwrap());
    let (peer, other) = (PeerId::random(), PeerId::random());
    assert!(limiter.egress(peer, 256 * 1024).now_or_never().is_some());
    assert!(limiter.egress(peer, 100 * 1024).now_or_never().is_none());
    assert!(limiter.egress(other, 256 * 1024).now_or_never().is_some(), "a bucket for each peer");
}

#[tokio::test]
async fn the_common_bucket_is_shared() {
    let limiter = limiter(|limits| limits.egress_kib = Quota::new(1, 256).unwrap());
    assert!(limiter.egress(PeerId::random(), 256 * 1024).now_or_never().is_some());
    assert!(limiter.egress(PeerId::random(), 100 * 1024).now_or_never().is_none());
}

#[tokio::test]
async fn a_cost_above_the_bucket_is_paid_in_slices() {
    let limiter = limiter(|limits| limits.egress_kib_per_peer = Quota::new(1_000_000, 200).unwrap());
    let paid = limiter.egress(PeerId::random(), 10 * 1024 * 1024);
    tokio::time::timeout(Duration::from_secs(60), paid).await.unwrap();
}

#[tokio::test]
async fn requests_are_withheld_per_peer() {
    let limiter = limiter(|limits| limits.requests_per_peer = Quota::new(1, 2).unwrap());
    let peer = PeerId::random();
    assert!(limiter.request(peer).now_or_never().is_some());
    assert!(limiter.request(peer).now_or_never().is_some());
    assert!(limiter.request(peer).now_or_never().is_none());
}

#[tokio::test]
async fn received_bytes_are_paid_for() {
    let limiter = limiter(|limits| limits.ingress_kib = Quota::new(1, 256).unwrap());
    assert!(limiter.ingress(256 * 1024).now_or_never().is_some());
    assert!(limiter.ingress(64 * 1024).now_or_never().is_none());
}

#[tokio::test]
async fn one_peer_with_many_streams_gets_no_more_than_one_with_a_single_stream() {
    let limiter = Arc::new(limiter(|limits| limits.egress_kib = Quota::new(20_000, 129).unwrap()));
    let (greedy, modest) = (PeerId::random(), PeerId::random());
    let served = Arc::new(StdMutex::new(Vec::new()));
    let streams = [greedy, greedy, greedy, greedy, greedy, greedy, modest].map(|peer| {
        let (limiter, served) = (limiter.clone(), served.clone());
        async move {
            while served.lock().unwrap().len() < 200 {
                limiter.egress(peer, 100 * 1024).await;
                served.lock().unwrap().push(peer);
            }
        }
    });
    tokio::time::timeout(Duration::from_secs(60), join_all(streams)).await.unwrap();
    let mut counts = HashMap::new();
    for peer in served.lock().unwrap().iter().take(200) {
        *counts.entry(*peer).or_insert(0_i32) += 1;
    }
    assert!((counts[&greedy] - counts[&modest]).abs() <= 20, "{counts:?}");
}

#[tokio::test]
async fn idle_peers_are_forgotten() {
    let limiter = limiter(|_| {});
    for _ in 0..100 {
        limiter.request(PeerId::random()).await;
    }
    assert_eq!(limiter.remembered(), 100);
    limiter.forget_idle();
    assert_eq!(limiter.remembered(), 0);
}
