//! Many peers that take all they can get: the cap, their shares, what they cost in memory, and those who follow the chain
//! meanwhile. In memory, so that nothing but the limits holds anybody back.

use std::{
    collections::HashMap,
    num::NonZeroU32,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use futures::{FutureExt, future::join_all};
use lapis_p2p::{Config, Exchange, Fault, Offence, Quota};
use lapis_protocol_spec::{Height, Status};
use libp2p::PeerId;
use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio_util::sync::CancellationToken;

use crate::{
    harness::{MEMORY, Node, QUIC, TCP, all, blobs, connect, eventually, genesis, within},
    provider::NOT_HELD,
};

const KIB_PER_BLOB: u64 = 129;

fn capped(config: &mut Config, kib_per_second: u32) {
    config.limits.rates.egress_kib = Quota::new(kib_per_second, 129).unwrap();
    config.limits.connections.total = 256;
    config.limits.connections.inbound = 256;
    config.limits.connections.pending_inbound = 256;
    config.limits.exchanges.inbound = 512;
}

async fn clients(server: &mut Node, count: usize) -> Vec<Node> {
    let mut clients = Vec::new();
    for _ in 0..count {
        let mut client = Node::start(MEMORY).await;
        connect(&mut client, server).await;
        clients.push(client);
    }
    clients
}

/// Takes blobs from `start` on until `stop`, counts them in `taken`.
async fn take(client: &Node, server: PeerId, start: Height, taken: &AtomicU64, stop: &CancellationToken) {
    while !stop.is_cancelled() {
        let mut exchange = client.request(server, blobs(start, 128)).await;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                item = exchange.next() => match item.unwrap() {
                    Some(_) => taken.fetch_add(1, Ordering::Relaxed),
                    None => break,
                },
            };
        }
    }
}

/// Within a tenth, but for the one item of each that may be on its way.
fn assert_equal_shares(counts: &[u64]) {
    let (least, most) = (*counts.iter().min().unwrap() as f64, *counts.iter().max().unwrap() as f64);
    let share = counts.iter().sum::<u64>() as f64 / counts.len() as f64;
    assert!(
        least >= 0.9 * share - 1.0 && most <= 1.1 * share + 1.0,
        "from {least} to {most} blobs, the share is {share}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_greedy_peers_stay_under_the_cap_share_alike_and_hold_little() {
    const PEERS: usize = 100;
    const EACH: u64 = 16;
    let rate = 24 * 1024;
    let mut server = Node::with(MEMORY, genesis(), |config| capped(config, rate)).await;
    let clients = clients(&mut server, PEERS).await;
    let (id, stop) = (server.id(), CancellationToken::new());
    let taken: Vec<AtomicU64> = (0..PEERS).map(|_| AtomicU64::new(0)).collect();
    let total = || taken.iter().map(|count| count.load(Ordering::Relaxed)).sum::<u64>();
    let start = Instant::now();
    let take_all = clients.iter().zip(&taken).flat_map(|(client, taken)| {
        // Some with one stream, some with two.
        let streams = 1 + usize::from(client.id().to_bytes().last().is_some_and(|byte| byte % 2 == 0));
        let stop = &stop;
        (0..streams).map(move |_| take(client, id, 1000, taken, stop))
    });
    let watch = async {
        while total() < EACH * PEERS as u64 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let (counts, elapsed) =
            (taken.iter().map(|count| count.load(Ordering::Relaxed)).collect::<Vec<_>>(), start.elapsed());
        stop.cancel();
        (counts, elapsed)
    };
    let (_, (counts, elapsed)) = within(async { tokio::join!(join_all(take_all), watch) }).await;

    let sent = counts.iter().sum::<u64>() * KIB_PER_BLOB;
    let allowed = u64::from(rate) * u64::try_from(elapsed.as_millis()).unwrap() / 1000 + 129;
    assert!(sent <= allowed, "{sent} KiB sent, {allowed} allowed");
    assert_equal_shares(&counts);
    assert!(server.provider.most_alive() <= 2 * PEERS, "{} answers at a time", server.provider.most_alive());
    eventually(|| async { (server.provider.alive() == 0).then_some(()) }).await;
    for client in &clients {
        let info = server.info(client.id()).await.unwrap();
        assert!(info.last_fault.is_none(), "a delay costs nothing: {info:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_that_catch_up_do_not_keep_one_at_the_head_waiting() {
    let head = 1_000_000;
    let mut server = Node::with(MEMORY, genesis(), |config| capped(config, 4 * 1024)).await;
    server.handle.set_status(Status { decided_height: head, ..Status::default() });
    let clients = clients(&mut server, 21).await;
    let (live, greedy) = clients.split_first().unwrap();
    let (id, stop) = (server.id(), CancellationToken::new());
    let taken = AtomicU64::new(0);
    let catch_up = join_all(greedy.iter().flat_map(|client| {
        let (taken, stop) = (&taken, &stop);
        (0..2).map(move |_| take(client, id, 1000, taken, stop))
    }));
    let follow = async {
        while taken.load(Ordering::Relaxed) < 60 {
            tokio::task::yield_now().await;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let before = taken.load(Ordering::Relaxed);
        for height in 0..20 {
            let items = all(&mut live.request(id, blobs(head - height, 1)).await).await.unwrap();
            assert_eq!(items.len(), 1);
        }
        let meanwhile = taken.load(Ordering::Relaxed) - before;
        stop.cancel();
        meanwhile
    };
    let (_, meanwhile) = within(async { tokio::join!(catch_up, follow) }).await;
    // In one round of the twenty others, forty items would have gone to them for each of its own.
    assert!(meanwhile <= 20 * 8, "{meanwhile} old items for 20 new ones");
}

#[tokio::test]
async fn places_near_the_head_are_kept_from_those_who_catch_up() {
    let head = 1_000_000;
    let mut server = Node::with(MEMORY, genesis(), |config| config.limits.exchanges.inbound = 4).await;
    server.handle.set_status(Status { decided_height: head, ..Status::default() });
    let clients = clients(&mut server, 3).await;
    let mut unread = Vec::new();
    for (client, start) in [(&clients[0], 1000), (&clients[0], 2000), (&clients[1], 3000)] {
        let mut exchange = client.request(server.id(), blobs(start, 128)).await;
        within(exchange.next()).await.unwrap().unwrap();
        unread.push(exchange);
    }
    let error = within(clients[2].request(server.id(), blobs(4000, 1)).await.next()).await.unwrap_err();
    assert_eq!(error.fault(), Fault::Busy, "{error}");
    server.metric(r#"lapis_p2p_denials_total{kind="no_room"} 1"#).await;
    assert_eq!(all(&mut clients[2].request(server.id(), blobs(head, 1)).await).await.unwrap().len(), 1);
    assert!(server.info(clients[2].id()).await.unwrap().last_fault.is_none(), "nobody's fault");
    drop(unread.pop());
    server.metric(r#"lapis_p2p_exchanges_in_flight{protocol="blobs_by_range",side="server"} 2"#).await;
    assert_eq!(all(&mut clients[2].request(server.id(), blobs(4000, 1)).await).await.unwrap().len(), 1);
}

/// A few peers with all the streams they may have, none of which they read, must neither keep others from becoming peers
/// nor make them take this node for one that breaks connections.
#[tokio::test]
async fn who_takes_all_places_keeps_nobody_out_and_blames_nobody() {
    let mut server = Node::with(MEMORY, genesis(), |config| {
        config.limits.exchanges.inbound = 4;
        config.limits.connections.total = 4;
        config.limits.connections.inbound = 4;
        config.limits.connections.outbound = 1;
    })
    .await;
    let greedy = clients(&mut server, 2).await;
    let mut unread = Vec::new();
    for (client, start) in [(&greedy[0], 1000), (&greedy[0], 2000), (&greedy[1], 3000)] {
        let mut exchange = client.request(server.id(), blobs(start, 128)).await;
        within(exchange.next()).await.unwrap().unwrap();
        unread.push(exchange);
    }
    let error = within(greedy[1].request(server.id(), blobs(4000, 1)).await.next()).await.unwrap_err();
    assert_eq!(error.fault(), Fault::Busy, "{error}");
    let newcomer = clients(&mut server, 1).await.remove(0);
    assert_eq!(all(&mut newcomer.request(server.id(), blobs(1, 1)).await).await.unwrap().len(), 1);
    drop(unread);
    for (node, peer) in [(&newcomer, server.id()), (&greedy[1], server.id()), (&server, greedy[1].id())] {
        assert!(node.info(peer).await.unwrap().last_fault.is_none());
    }
}

async fn reset_while_it_waits(listen: &str) {
    let mut server = Node::with(listen, genesis(), |config| {
        // After the first item the next one is due in an hour and a half.
        config.limits.rates.egress_kib_per_peer = Quota::new(1, 129).unwrap();
        config.limits.exchanges.inbound_per_protocol = 1;
    })
    .await;
    let mut client = Node::start(listen).await;
    connect(&mut client, &mut server).await;
    let mut exchange = client.request(server.id(), blobs(1, 2)).await;
    within(exchange.next()).await.unwrap().unwrap();
    server.metric(r#"lapis_p2p_limiter_waiting{bucket="egress"} 1"#).await;
    drop(exchange);
    server.metric(r#"lapis_p2p_exchanges_in_flight{protocol="blobs_by_range",side="server"} 0"#).await;
    server.metric(r#"lapis_p2p_limiter_waiting{bucket="egress"} 0"#).await;
    assert!(server.info(client.id()).await.unwrap().last_fault.is_none(), "giving up is no offence");
}

#[tokio::test]
async fn a_client_that_gives_up_while_it_waits_frees_its_place_over_tcp() {
    reset_while_it_waits(TCP).await;
}

#[tokio::test]
async fn a_client_that_gives_up_while_it_waits_frees_its_place_over_quic() {
    reset_while_it_waits(QUIC).await;
}

#[tokio::test]
async fn two_connections_of_one_peer_share_its_bucket() {
    let mut server = Node::with(MEMORY, genesis(), |config| {
        config.limits.rates.egress_kib_per_peer = Quota::new(1, 300).unwrap();
    })
    .await;
    let mut client = Node::start(MEMORY).await;
    connect(&mut client, &mut server).await;
    within(server.handle.dial(client.address())).await.unwrap();
    let unnamed = client.address().iter().take(1).collect();
    within(server.handle.dial(unnamed)).await.unwrap();
    server.info_when(client.id(), |info| info.connections.len() == 2).await;
    let _first = client.request(server.id(), blobs(1, 10)).await;
    let _second = client.request(server.id(), blobs(100, 10)).await;
    let produced = || server.provider.calls(1) + server.provider.calls(100);
    // Whoever has the second item may still be writing it: its stream is not read.
    let waits = |count| server.metrics().contains(&format!("lapis_p2p_limiter_waiting{{bucket=\"egress\"}} {count}"));
    eventually(|| async { (produced() == 2 && (waits(1) || waits(2))).then_some(()) }).await;
    let mut other = Node::start(MEMORY).await;
    connect(&mut other, &mut server).await;
    assert_eq!(all(&mut other.request(server.id(), blobs(7, 2)).await).await.unwrap().len(), 2, "its bucket is full");
    assert_eq!(server.provider.calls(1) + server.provider.calls(100), 2, "two items fit the bucket, whoever has them");
}

/// The reader may take two seconds in all, and waits for three.
#[tokio::test]
async fn who_is_delayed_by_our_own_quota_is_not_taken_for_a_slow_reader() {
    let mut server = Node::with(TCP, genesis(), |config| {
        config.limits.rates.egress_kib_per_peer = Quota::new(43, 129).unwrap();
        config.timeouts.grace = Duration::from_secs(2);
        config.timeouts.minimum_rate = NonZeroU32::MAX;
    })
    .await;
    let mut client = Node::start(TCP).await;
    connect(&mut client, &mut server).await;
    assert_eq!(all(&mut client.request(server.id(), blobs(1, 2)).await).await.unwrap().len(), 2);
    assert!(server.info(client.id()).await.unwrap().last_fault.is_none());
}

#[tokio::test]
async fn own_requests_are_paced_to_what_a_peer_may_be_expected_to_take() {
    let mut server = Node::with(MEMORY, genesis(), |config| {
        config.limits.rates.requests_per_peer = Quota::new(110, 12).unwrap();
    })
    .await;
    let mut client = Node::with(MEMORY, genesis(), |config| {
        config.limits.rates.own_requests_per_peer = Quota::new(100, 10).unwrap();
    })
    .await;
    connect(&mut client, &mut server).await;
    let start = Instant::now();
    for number in 0..60 {
        all(&mut client.request(server.id(), blobs(number + 1, 1)).await).await.unwrap();
    }
    assert!(start.elapsed() >= Duration::from_millis(480), "ten at once, then a hundred a second");
    // Without our pace its limiter would have made forty-eight of them wait, for almost half a second together.
    assert!(sum_of(&server.metrics(), "requests") < 0.3, "its limiter did not bite");
}

fn sum_of(metrics: &str, bucket: &str) -> f64 {
    let name = format!(r#"lapis_p2p_limiter_wait_seconds_sum{{bucket="{bucket}"}} "#);
    metrics.lines().find_map(|line| line.strip_prefix(&name)).unwrap().parse().unwrap()
}

/// What a client does with an exchange.
async fn random_end(rng: &mut StdRng, client: &Node, server: PeerId) -> &'static str {
    match rng.random_range(0..7) {
        0 => {
            drop(client.handle.request(server, blobs(1, 3)).now_or_never());
            return "dropped before it was sent";
        }
        1 => {
            let error = within(client.handle.request(PeerId::random(), blobs(1, 1))).await.unwrap_err();
            assert_eq!(error.fault().offence(), None);
            return "not connected";
        }
        2 => {
            let mut exchange = client.request(server, blobs(NOT_HELD, 1)).await;
            within(exchange.next()).await.unwrap_err();
            return "refused";
        }
        _ => {}
    }
    let mut exchange: Exchange = client.request(server, blobs(rng.random_range(1000..2000), 3)).await;
    for _ in 0..rng.random_range(0..4) {
        within(exchange.next()).await.unwrap();
    }
    if rng.random() {
        let _ = exchange.next().now_or_never();
        return "dropped in the middle";
    }
    all(&mut exchange).await.unwrap();
    "complete"
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_random_exchanges_over_streams_end_with_nothing_in_flight() {
    let mut server = Node::with(MEMORY, genesis(), |config| {
        config.timeouts.overlap = Duration::from_secs(60);
        // Streams that were given up are noticed ten times a second: until then they count.
        config.limits.connections.streams = 1024;
    })
    .await;
    let mut clients = Vec::new();
    for _ in 0..4 {
        let ample = Quota::new(1_000_000, 1_000_000).unwrap();
        let mut client =
            Node::with(MEMORY, genesis(), |config| config.limits.rates.own_requests_per_peer = ample).await;
        connect(&mut client, &mut server).await;
        clients.push(client);
    }
    let id = server.id();
    let ends = join_all(clients.iter().zip(0..).map(|(client, seed)| async move {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut ends = HashMap::<&str, usize>::new();
        for _ in 0..600 {
            *ends.entry(random_end(&mut rng, client, id).await).or_default() += 1;
        }
        ends
    }))
    .await;
    assert!(ends.iter().all(|ends| ends.len() == 5), "{ends:?}");
    for (node, side) in clients.iter().map(|client| (client, "client")).chain([(&server, "server")]) {
        node.metric(&format!(r#"lapis_p2p_exchanges_in_flight{{protocol="blobs_by_range",side="{side}"}} 0"#)).await;
    }
    eventually(|| async { (server.provider.alive() == 0).then_some(()) }).await;
    for client in &clients {
        assert!(server.info(client.id()).await.unwrap().last_fault.is_none(), "giving up is no offence");
        assert_eq!(all(&mut client.request(id, blobs(1, 2)).await).await.unwrap().len(), 2);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_cuts_its_connection_in_mid_exchange_pays_a_little_each_time() {
    let mut node = Node::start(TCP).await;
    let keypair = libp2p::identity::Keypair::generate_ed25519();
    let peer = keypair.public().to_peer_id();
    for cuts in 1..=3_u32 {
        let mut raw = crate::raw::Raw::with_key(Some(node.address()), keypair.clone()).await;
        raw.shake_hands(node.id()).await;
        node.ready().await;
        let mut streams = raw.accept(lapis_protocol_spec::Method::BlobsByRange);
        let mut exchange = node.request(peer, blobs(1, 1)).await;
        let _asked = within(futures::StreamExt::next(&mut streams)).await.unwrap();
        drop(raw);
        node.gone().await;
        let error = within(exchange.next()).await.unwrap_err();
        within(node.handle.report(peer, error.fault().offence().unwrap())).await.unwrap();
        within(node.handle.report(peer, Offence::Truncated)).await.unwrap();
        let score = node.info(peer).await.unwrap().score;
        assert!((score + f64::from(cuts) * Offence::Reset.price()).abs() < 0.5, "{score} after {cuts}");
    }
}
