//! Finding peers: boot nodes, Kademlia, restarts, rotation, reserved places.

use std::time::Duration;

use futures::{AsyncReadExt, AsyncWriteExt};
use lapis_p2p::{BanError, Config, Direction, GoneReason, KnownPeer, Offence, PeerState, Redial, Remembered, Walks};
use lapis_protocol_spec::{Bytes32, GoodbyeReason};
use libp2p::{Multiaddr, PeerId, identity::Keypair};

use crate::harness::{MEMORY, Node, QUIC, TCP, all, blobs, connect, eventually, genesis, pair, within};

/// Wants `target` peers, and does not wait long between attempts.
fn seeking(target: u32) -> impl Fn(&mut Config) {
    let (short, hour) = (Duration::from_millis(50), Duration::from_secs(3600));
    move |config| {
        config.discovery.target_peers = target;
        config.discovery.redial =
            Redial { first_delay: short, longest_delay: Duration::from_secs(1), unsuitable_delay: hour };
        config.discovery.walks = Walks { first_delay: short, longest_delay: Duration::from_secs(1) };
        config.dialing.first_delay = short;
        config.dialing.longest_delay = Duration::from_secs(1);
    }
}

async fn seeker(listen: &str, target: u32, change: impl FnOnce(&mut Config)) -> Node {
    Node::with(listen, genesis(), |config| {
        seeking(target)(config);
        change(config);
    })
    .await
}

/// Waits until a node is ready with all of these.
async fn acquainted(node: &Node, peers: &[PeerId]) {
    for peer in peers {
        node.info_when(*peer, |info| info.state == PeerState::Ready).await;
    }
}

fn known(node: &Node) -> KnownPeer {
    let address = node.address().iter().filter(|part| !matches!(part, libp2p::multiaddr::Protocol::P2p(_))).collect();
    KnownPeer { peer: node.id(), addresses: vec![address], seen: Duration::ZERO, useful_bytes: 0, score: 0.0 }
}

/// Takes the value of a counter or gauge.
fn count(node: &Node, name: &str) -> u64 {
    let metrics = node.metrics();
    let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ').map(str::to_owned));
    line.map_or(0, |value| value.parse().unwrap())
}

#[tokio::test]
async fn who_knows_only_a_boot_node_finds_the_others_by_kademlia() {
    for listen in [TCP, QUIC, MEMORY] {
        let boot = Node::start(listen).await;
        let mut others = Vec::new();
        for _ in 0..3 {
            let mut other = Node::start(listen).await;
            within(other.handle.dial(boot.address())).await.unwrap();
            other.ready().await;
            others.push(other);
        }
        let node = seeker(listen, 4, |config| config.discovery.boot_nodes = vec![boot.address()]).await;
        let mut expected: Vec<_> = others.iter().map(Node::id).collect();
        expected.push(boot.id());
        acquainted(&node, &expected).await;
        assert!(count(&node, "lapis_p2p_kad_walks_total") > 0);
        let protocol = "/lapis/07070707/kad/1";
        let info = node.info_when(boot.id(), |info| !info.protocols.is_empty()).await;
        assert!(info.protocols.iter().any(|name| name == protocol), "{:?}", info.protocols);
    }
}

/// Answers of Kademlia are the work of the loop that serves everybody.
#[tokio::test]
async fn who_asks_kademlia_without_an_end_loses_the_connection_and_pays() {
    let mut node = Node::start(TCP).await;
    let mut raw = crate::raw::Raw::start(Some(node.address())).await;
    raw.shake_hands(node.id()).await;
    node.ready().await;
    let kad = libp2p::StreamProtocol::new("/lapis/07070707/kad/1");
    let mut stream = within(raw.control.open_stream(node.id(), kad)).await.unwrap();
    // A FIND_NODE: its length; field 1, the type, 4; field 2, the key, of 32 bytes.
    let question = [&[36, 0x08, 4, 0x12, 32][..], &[9; 32]].concat();
    let (mut answers, mut buffer) = (0, [0; 1024]);
    within(async {
        while stream.write_all(&question).await.is_ok() && stream.flush().await.is_ok() {
            // An answer is not split: it is small, since the node knows nobody.
            match stream.read(&mut buffer).await {
                Ok(1..) => answers += 1,
                Ok(0) | Err(_) => break,
            }
        }
    })
    .await;
    assert!((200..400).contains(&answers), "{answers} answers");
    assert_eq!(node.gone().await.0, raw.id);
    let info = node.info_when(raw.id, |info| info.last_fault.is_some()).await;
    assert_eq!(info.last_fault.unwrap().offence, Offence::TooManyStreams);
}

#[tokio::test]
async fn one_dial_at_a_time_is_enough_to_find_peers() {
    let boot = Node::start(MEMORY).await;
    let node = seeker(MEMORY, 1, |config| {
        config.limits.connections.pending_outbound = 1;
        config.discovery.boot_nodes = vec![boot.address()];
    })
    .await;
    acquainted(&node, &[boot.id()]).await;
}

#[tokio::test]
async fn a_boot_node_that_comes_late_is_found() {
    let key = Keypair::generate_ed25519();
    let place = Node::start(TCP).await;
    let address: Multiaddr =
        place.address().iter().filter(|part| !matches!(part, libp2p::multiaddr::Protocol::P2p(_))).collect();
    place.stop().await.unwrap();
    let boot_address = address.clone().with_p2p(key.public().to_peer_id()).unwrap();
    let mut node = seeker(TCP, 1, |config| config.discovery.boot_nodes = vec![boot_address]).await;
    node.metric(r#"lapis_p2p_failed_dials_total{kind="boot"} 2"#).await;
    let boot = Node::with_key(&address.to_string(), &key, genesis(), |_| {}).await;
    assert_eq!(node.ready().await.0, boot.id());
}

#[tokio::test]
async fn nodes_of_two_chains_with_one_boot_node_never_meet() {
    let other = Bytes32::from([8; 32]);
    let boot = Node::start(TCP).await;
    let mut ours = Node::start(TCP).await;
    within(ours.handle.dial(boot.address())).await.unwrap();
    ours.ready().await;
    let stranger = Node::with(TCP, other, |config| {
        seeking(4)(config);
        config.dialing.unsuitable_delay = Duration::from_secs(3600);
        config.discovery.boot_nodes = vec![boot.address()];
    })
    .await;
    eventually(|| async { (count(&stranger, r#"lapis_p2p_dials_total{kind="boot"}"#) > 0).then_some(()) }).await;
    eventually(|| async { stranger.info(boot.id()).await.is_none().then_some(()) }).await;
    let node = seeker(TCP, 3, |config| config.discovery.boot_nodes = vec![boot.address()]).await;
    acquainted(&node, &[boot.id(), ours.id()]).await;
    // Whoever is looking still finds nobody of the other chain, and the other nobody of ours.
    eventually(|| async { (count(&node, "lapis_p2p_kad_walks_total") > 3).then_some(()) }).await;
    assert!(node.info(stranger.id()).await.is_none());
    assert_eq!(stranger.handle.connected_count(), 0);
    assert_eq!(count(&stranger, r#"lapis_p2p_dials_total{kind="boot"}"#), 1, "it was told, and left alone");
}

#[tokio::test]
async fn a_candidate_of_another_chain_is_left_politely_and_not_dialed_again() {
    let mut stranger = Node::with(TCP, Bytes32::from([8; 32]), |_| {}).await;
    let candidate = known(&stranger);
    let node = seeker(TCP, 2, |config| config.discovery.known = vec![candidate]).await;
    eventually(|| async { (count(&node, r#"lapis_p2p_dials_total{kind="candidate"}"#) > 0).then_some(()) }).await;
    eventually(|| async { node.info(stranger.id()).await.is_none().then_some(()) }).await;
    let late = Node::start(TCP).await;
    within(late.handle.dial(node.address())).await.unwrap();
    acquainted(&node, &[late.id()]).await;
    assert_eq!(count(&node, r#"lapis_p2p_dials_total{kind="candidate"}"#), 1);
    assert!(within(node.handle.remembered()).await.unwrap().known.is_empty(), "nothing to keep");
    stranger.shutdown.cancel();
    while let Some(event) = within(stranger.events.next()).await {
        assert!(!matches!(event, lapis_p2p::Event::PeerReady { .. }));
    }
}

#[tokio::test]
async fn what_is_remembered_leads_back_without_a_boot_node() {
    let boot = Node::start(TCP).await;
    let mut other = Node::start(TCP).await;
    within(other.handle.dial(boot.address())).await.unwrap();
    other.ready().await;
    let node = seeker(TCP, 2, |config| config.discovery.boot_nodes = vec![boot.address()]).await;
    acquainted(&node, &[boot.id(), other.id()]).await;
    assert_eq!(all(&mut node.request(other.id(), blobs(1, 4)).await).await.unwrap().len(), 4);
    let Remembered { known, banned } = eventually(|| async {
        let remembered = node.handle.remembered().await.unwrap();
        let useful = remembered.known.iter().any(|known| known.peer == other.id() && known.useful_bytes > 500_000);
        (useful && remembered.known.len() == 2).then_some(remembered)
    })
    .await;
    assert!(banned.is_empty());
    node.stop().await.unwrap();
    boot.stop().await.unwrap();
    let again = seeker(TCP, 2, |config| config.discovery.known = known).await;
    acquainted(&again, &[other.id()]).await;
}

#[tokio::test]
async fn scores_and_bans_are_remembered_and_end() {
    let (a, b) = pair(TCP).await;
    let mut c = Node::start(TCP).await;
    within(c.handle.dial(a.address())).await.unwrap();
    c.ready().await;
    within(a.handle.report(b.id(), Offence::InvalidRequest)).await.unwrap();
    within(a.handle.ban(c.id(), Duration::from_secs(3600))).await.unwrap();
    assert_eq!(c.gone().await.1, GoneReason::Goodbye(GoodbyeReason::Banned));
    let Remembered { known, banned } = within(a.handle.remembered()).await.unwrap();
    let of_b = known.iter().find(|known| known.peer == b.id()).unwrap();
    assert!((-10.0..-9.0).contains(&of_b.score), "{of_b:?}");
    assert_eq!(banned.len(), 1);
    assert_eq!(banned[0].peer, c.id());
    let again = Node::with(TCP, genesis(), |config| {
        config.discovery.known = known;
        config.banned = banned;
    })
    .await;
    assert!((-10.0..-9.0).contains(&again.info(b.id()).await.unwrap().score));
    let _ = within(c.handle.dial(again.address())).await;
    eventually(|| async { c.info(again.id()).await.is_none().then_some(()) }).await;
    assert_eq!(again.handle.connected_count(), 0);
    assert!(within(again.handle.unban(c.id())).await.unwrap());
    assert!(!within(again.handle.unban(c.id())).await.unwrap(), "once");
    connect(&mut c, &mut { again }).await;
}

#[tokio::test]
async fn whom_the_configuration_names_cannot_be_banned_by_hand() {
    let (friend, trusted) = (Keypair::generate_ed25519(), PeerId::random());
    let friend_id = friend.public().to_peer_id();
    let node = Node::with(TCP, genesis(), |config| {
        config.peers = vec!["/memory/4242".parse::<Multiaddr>().unwrap().with_p2p(friend_id).unwrap()];
        config.trusted = vec![trusted];
    })
    .await;
    let ban = |peer| node.handle.ban(peer, Duration::from_secs(1));
    assert_eq!(within(ban(friend_id)).await, Err(BanError::Configured(friend_id)));
    assert_eq!(within(ban(trusted)).await, Err(BanError::Trusted(trusted)));
    assert_eq!(within(ban(node.id())).await, Err(BanError::Own(node.id())));
    assert!(within(node.handle.remembered()).await.unwrap().banned.is_empty());
}

#[tokio::test]
async fn a_peer_of_no_use_makes_place_for_another() {
    let two = [Node::start(TCP).await, Node::start(TCP).await];
    // Both were of use once.
    let known = two.iter().map(|node| KnownPeer { useful_bytes: 1 << 20, ..known(node) }).collect();
    let mut node = seeker(TCP, 1, |config| {
        config.discovery.known = known;
        config.discovery.rotate_every = Duration::from_millis(200);
        config.discovery.redial.longest_delay = Duration::from_secs(3600);
    })
    .await;
    let (first, _) = node.ready().await;
    assert_eq!(node.gone().await, (first, GoneReason::Disconnected(GoodbyeReason::TooManyPeers)));
    let (second, _) = node.ready().await;
    assert_ne!(second, first);
    let told = two.iter().find(|node| node.id() == first).unwrap();
    let goodbye = r#"lapis_p2p_exchanges_total{protocol="goodbye",side="server""#;
    eventually(|| async { told.metrics().lines().any(|line| line.starts_with(goodbye)).then_some(()) }).await;
    assert_eq!(count(&node, "lapis_p2p_rotations_total"), 1);
}

#[tokio::test]
async fn a_configured_peer_gets_in_where_no_place_is_left() {
    let friend = Keypair::generate_ed25519();
    let friend_id = friend.public().to_peer_id();
    let mut full = Node::with(TCP, genesis(), |config| {
        config.limits.connections.inbound = 1;
        config.limits.connections.total = 1;
        config.limits.connections.outbound = 1;
        config.trusted = vec![friend_id];
    })
    .await;
    let mut first = Node::start(TCP).await;
    connect(&mut first, &mut full).await;
    let stranger = Node::start(TCP).await;
    let _ = within(stranger.handle.dial(full.address())).await;
    eventually(|| async { stranger.info(full.id()).await.is_none().then_some(()) }).await;
    let mut friend = Node::with_key(TCP, &friend, genesis(), |_| {}).await;
    connect(&mut friend, &mut full).await;
    assert_eq!(full.handle.connected_count(), 2);
    assert_eq!(full.info(friend_id).await.unwrap().connections[0].direction, Direction::Inbound);
}

#[tokio::test]
async fn a_configured_peer_is_dialed_where_no_place_is_left() {
    let key = Keypair::generate_ed25519();
    let place = Node::start(TCP).await;
    let address: Multiaddr =
        place.address().iter().filter(|part| !matches!(part, libp2p::multiaddr::Protocol::P2p(_))).collect();
    place.stop().await.unwrap();
    let configured = address.clone().with_p2p(key.public().to_peer_id()).unwrap();
    let mut full = Node::with(TCP, genesis(), |config| {
        seeking(0)(config);
        config.limits.connections.inbound = 1;
        config.limits.connections.total = 1;
        config.limits.connections.outbound = 1;
        config.peers = vec![configured];
    })
    .await;
    let mut first = Node::start(TCP).await;
    connect(&mut full, &mut first).await;
    let second = Node::start(TCP).await;
    assert!(within(full.handle.dial(second.address())).await.is_err(), "it is full");
    let friend = Node::with_key(&address.to_string(), &key, genesis(), |_| {}).await;
    assert_eq!(full.ready().await.0, friend.id());
    assert_eq!(full.handle.connected_count(), 2);
}

#[tokio::test]
async fn an_external_address_is_told_and_makes_a_server() {
    let external: Multiaddr = "/ip4/127.0.0.1/tcp/65000".parse().unwrap();
    let told = external.clone();
    // Neither listens, as if others reached them in ways that they do not see.
    let forwarded = Node::with(TCP, genesis(), |config| {
        config.listen.clear();
        config.discovery.external_addresses = vec![told];
    })
    .await;
    let hidden = Node::with(TCP, genesis(), |config| config.listen.clear()).await;
    let node = Node::start(TCP).await;
    for (other, is_server) in [(&forwarded, true), (&hidden, false)] {
        within(other.handle.dial(node.address())).await.unwrap();
        let info = node.info_when(other.id(), |info| !info.protocols.is_empty()).await;
        assert_eq!(info.protocols.iter().any(|name| name.ends_with("/kad/1")), is_server, "{:?}", info.protocols);
    }
    // Who walks is led there, and finds that nobody answers.
    let seeker = seeker(TCP, 3, |config| config.discovery.boot_nodes = vec![node.address()]).await;
    let failed = r#"lapis_p2p_failed_dials_total{kind="query"}"#;
    eventually(|| async { (count(&seeker, failed) > 0).then_some(()) }).await;
    acquainted(&seeker, &[node.id()]).await;
}
