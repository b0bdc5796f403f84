//! Limits on connections and rates, bans.

use lapis_p2p::{Ban, GoneReason, Loopback, Offence, PeerState, Quota};
use lapis_protocol_spec::GoodbyeReason;

use crate::harness::{MEMORY, Node, TCP, all, blobs, connect, eventually, genesis, pair, within};

#[tokio::test]
async fn connections_beyond_the_limit_are_refused() {
    let mut full = Node::with(TCP, genesis(), |config| config.limits.connections.inbound = 1).await;
    let mut first = Node::start(TCP).await;
    connect(&mut first, &mut full).await;
    let second = Node::start(TCP).await;
    // The dialer may see the connection before it is closed.
    let _ = within(second.handle.dial(full.address())).await;
    eventually(|| async { second.info(full.id()).await.is_none().then_some(()) }).await;
    assert_eq!(second.handle.connected_count(), 0);
    assert_eq!(full.handle.connected_count(), 1);
    assert_eq!(within(full.handle.peers()).await.unwrap().len(), 1);
    assert_eq!(all(&mut first.request(full.id(), blobs(1, 2)).await).await.unwrap().len(), 2);
}

#[tokio::test]
async fn connections_of_one_address_beyond_the_limit_are_refused_and_counted() {
    let mut full = Node::with(TCP, genesis(), |config| {
        config.limits.connections.per_ip = 1;
        config.limits.connections.loopback = Loopback::Counted;
    })
    .await;
    let mut first = Node::start(TCP).await;
    connect(&mut first, &mut full).await;
    let mut second = Node::start(TCP).await;
    assert!(within(second.handle.dial(full.address())).await.is_err());
    full.metric(r#"lapis_p2p_denials_total{kind="connections_per_ip"} 1"#).await;
    assert_eq!(all(&mut first.request(full.id(), blobs(1, 2)).await).await.unwrap().len(), 2);
    // What this node opens itself does not count, and a place that is free again can be taken.
    connect(&mut full, &mut second).await;
    first.stop().await.unwrap();
    full.gone().await;
    let mut third = Node::start(TCP).await;
    connect(&mut third, &mut full).await;
}

#[tokio::test]
async fn a_banned_peer_is_told_so_and_cannot_come_back() {
    let (mut a, mut b) = pair(TCP).await;
    within(a.handle.report(b.id(), Offence::InvalidData)).await.unwrap();
    assert_eq!(b.gone().await, (a.id(), GoneReason::Goodbye(GoodbyeReason::Banned)));
    assert_eq!(a.gone().await, (b.id(), GoneReason::Disconnected(GoodbyeReason::Banned)));
    a.info_when(b.id(), |info| info.state == PeerState::Gone && info.banned_for.is_some()).await;
    for _ in 0..3 {
        let _ = within(b.handle.dial(a.address())).await;
        eventually(|| async { b.info(a.id()).await.is_none().then_some(()) }).await;
    }
    assert!(within(a.handle.dial(b.address())).await.is_err(), "nor is it dialed");
    assert_eq!(a.handle.connected_count(), 0);
}

#[tokio::test]
async fn a_ban_of_an_earlier_run_holds() {
    let b = Node::start(TCP).await;
    let ban = Ban { peer: b.id(), left: std::time::Duration::from_secs(3600) };
    let a = Node::with(TCP, genesis(), |config| config.banned = vec![ban]).await;
    let info = a.info(b.id()).await.unwrap();
    assert!(info.banned_for.is_some_and(|left| left <= ban.left));
    let _ = within(b.handle.dial(a.address())).await;
    eventually(|| async { b.info(a.id()).await.is_none().then_some(()) }).await;
    assert!(within(a.handle.dial(b.address())).await.is_err());
    assert_eq!(a.handle.connected_count(), 0);
}

#[tokio::test]
async fn a_ban_that_is_over_is_over() {
    let mut a =
        Node::with(TCP, genesis(), |config| config.scores.ban_for = std::time::Duration::from_millis(300)).await;
    let mut b = Node::start(TCP).await;
    connect(&mut b, &mut a).await;
    within(a.handle.report(b.id(), Offence::InvalidData)).await.unwrap();
    b.gone().await;
    eventually(|| async { a.info(b.id()).await.is_none_or(|info| info.banned_for.is_none()).then_some(()) }).await;
    eventually(|| async {
        let _ = b.handle.dial(a.address()).await;
        (b.handle.connected_count() == 1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_peer_that_does_not_have_it_is_never_banned() {
    let (a, b) = pair(MEMORY).await;
    for _ in 0..200 {
        let error = within(a.request(b.id(), blobs(crate::provider::NOT_HELD, 1)).await.next()).await.unwrap_err();
        assert_eq!(error.fault().offence(), None);
    }
    assert_eq!(a.info(b.id()).await.unwrap().score, 0.0);
}

#[tokio::test]
async fn trusted_peers_stay_whatever_they_do() {
    let keypair = libp2p::identity::Keypair::generate_ed25519();
    let trusted = keypair.public().to_peer_id();
    let mut a = Node::with(MEMORY, genesis(), |config| config.trusted = vec![trusted]).await;
    let mut b = Node::with_key(MEMORY, &keypair, genesis(), |_| {}).await;
    connect(&mut a, &mut b).await;
    for _ in 0..10 {
        within(a.handle.report(trusted, Offence::InvalidData)).await.unwrap();
    }
    let info = a.info(trusted).await.unwrap();
    assert!(info.trusted && info.state == PeerState::Ready);
    assert_eq!(info.last_fault.unwrap().offence, Offence::InvalidData);
}

#[tokio::test]
async fn over_its_quota_a_server_withholds_and_answers_everything() {
    let mut server = Node::with(TCP, genesis(), |config| {
        config.limits.rates.egress_kib_per_peer = Quota::new(4000, 130).unwrap();
        config.limits.rates.requests_per_peer = Quota::new(100, 1).unwrap();
    })
    .await;
    let mut client = Node::start(TCP).await;
    connect(&mut client, &mut server).await;
    let ten = (0..10).map(|number| {
        let client = &client;
        let server = server.id();
        async move { all(&mut client.request(server, blobs(1 + number * 10, 2)).await).await.unwrap().len() }
    });
    assert_eq!(futures::future::join_all(ten).await, [2; 10]);
    assert!(server.info(client.id()).await.unwrap().last_fault.is_none(), "a delay is nobody's fault");
    assert!(client.info(server.id()).await.unwrap().last_fault.is_none());
    let metrics = server.metrics();
    assert!(metrics.contains(r#"lapis_p2p_limiter_wait_seconds_count{bucket="egress"}"#), "{metrics}");
    let moved = |node: &Node, side, direction| -> u64 {
        let name = format!(
            r#"lapis_p2p_exchange_bytes_total{{protocol="blobs_by_range",side="{side}",direction="{direction}"}} "#
        );
        node.metrics().lines().find_map(|line| line.strip_prefix(&name)).unwrap().parse().unwrap()
    };
    assert_eq!(moved(&server, "server", "out"), moved(&client, "client", "in"));
    assert_eq!(moved(&server, "server", "in"), moved(&client, "client", "out"));
    assert!(moved(&client, "client", "in") > 20 * 131_184 && moved(&client, "client", "out") < 1000);
}

#[tokio::test]
async fn reading_pauses_when_the_ingress_quota_is_used_up() {
    let mut client = Node::with(TCP, genesis(), |config| {
        config.limits.rates.ingress_kib = Quota::new(8000, 130).unwrap();
    })
    .await;
    let mut server = Node::start(TCP).await;
    connect(&mut client, &mut server).await;
    assert_eq!(all(&mut client.request(server.id(), blobs(1, 20)).await).await.unwrap().len(), 20);
    let metrics = client.metrics();
    assert!(metrics.contains(r#"lapis_p2p_limiter_wait_seconds_count{bucket="ingress"}"#), "{metrics}");
}
