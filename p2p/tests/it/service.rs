//! Starting, and keeping configured peers.

use std::{sync::Arc, time::Duration};

use lapis_p2p::{Config, GoneReason, Quota, Service, StartError};
use lapis_protocol_spec::GoodbyeReason;
use libp2p::{Multiaddr, identity::Keypair};
use prometheus_client::registry::Registry;

use crate::{
    harness::{MEMORY, Node, QUIC, TCP, genesis, pair, within},
    provider::TestProvider,
};

fn service(config: Config) -> Result<Service, StartError> {
    let provider = Arc::new(TestProvider::default());
    let key = Keypair::generate_ed25519();
    Service::new(config, &key, genesis(), provider, &mut Registry::default()).map(|(service, _, _)| service)
}

fn without_peer(address: Multiaddr) -> Multiaddr {
    address.iter().filter(|part| !matches!(part, libp2p::multiaddr::Protocol::P2p(_))).collect()
}

#[tokio::test]
async fn an_address_in_use_is_named_before_anything_else_happens() {
    for listen in [TCP, QUIC, MEMORY] {
        let first = Node::start(listen).await;
        let taken = without_peer(first.address());
        let mut second = service(Config { listen: vec![taken.clone()], ..Config::default() }).unwrap();
        let error = within(second.bind()).await.unwrap_err();
        let StartError::Listen { address, .. } = &error else { panic!("{error}") };
        assert_eq!(*address, taken);
        assert!(error.to_string().starts_with(&format!("cannot listen on {taken}")), "{error}");
    }
}

#[tokio::test]
async fn an_address_without_a_transport_is_refused() {
    let mut service =
        service(Config { listen: vec!["/ip4/127.0.0.1/tcp/0/ws".parse().unwrap()], ..Config::default() }).unwrap();
    assert!(matches!(within(service.bind()).await, Err(StartError::Listen { .. })));
}

#[tokio::test]
async fn senseless_configuration_is_refused() {
    let mut config = Config::default();
    config.limits.rates.egress_kib = Quota::new(1, 1).unwrap();
    assert!(matches!(service(config), Err(StartError::Limits(_))));
    let nowhere = Multiaddr::empty().with_p2p(libp2p::PeerId::random()).unwrap();
    for peer in [Multiaddr::empty(), nowhere] {
        let config = Config { peers: vec![peer], ..Config::default() };
        assert!(matches!(service(config), Err(StartError::PeerAddress { .. })));
    }
}

#[tokio::test]
async fn listen_addresses_are_real_and_carry_the_peer_id() {
    for listen in [TCP, QUIC, MEMORY] {
        let node = Node::start(listen).await;
        let text = node.address().to_string();
        assert!(text.ends_with(&format!("/p2p/{}", node.id())), "{text}");
        assert!(!text.contains("/0/"), "{text}");
    }
}

#[tokio::test]
async fn a_configured_peer_is_dialed_until_it_is_there_and_again_when_it_was_gone() {
    let key = Keypair::generate_ed25519();
    let place = Node::start(TCP).await;
    let address = without_peer(place.address());
    place.stop().await.unwrap();
    let target = address.clone().with_p2p(key.public().to_peer_id()).unwrap();
    let mut node = Node::with(TCP, genesis(), |config| {
        config.peers = vec![target];
        config.dialing.first_delay = Duration::from_millis(20);
        config.dialing.longest_delay = Duration::from_millis(200);
    })
    .await;
    for _ in 0..2 {
        let mut peer = Node::with_key(&address.to_string(), &key, genesis(), |_| {}).await;
        assert_eq!(node.ready().await.0, peer.id());
        assert_eq!(peer.ready().await.0, node.id());
        peer.stop().await.unwrap();
        assert_eq!(node.gone().await.1, GoneReason::Goodbye(GoodbyeReason::Shutdown));
    }
}

#[tokio::test]
async fn a_dial_to_nobody_says_so() {
    let node = Node::start(TCP).await;
    let error = within(node.handle.dial("/ip4/127.0.0.1/tcp/1".parse().unwrap())).await.unwrap_err();
    assert!(error.to_string().contains("/ip4/127.0.0.1/tcp/1"), "{error}");
}

#[tokio::test]
async fn a_dial_to_a_connected_peer_is_answered_at_once() {
    let (a, b) = pair(MEMORY).await;
    assert_eq!(within(a.handle.dial(b.address())).await.unwrap(), b.id());
    assert_eq!(a.info(b.id()).await.unwrap().connections.len(), 1);
}

#[tokio::test]
async fn own_metrics_and_libp2ps_are_in_the_registry() {
    let (a, _b) = pair(TCP).await;
    let text = a.metrics();
    for name in [
        "lapis_p2p_exchanges_total",
        "lapis_p2p_peers_ready 1",
        "lapis_p2p_exchange_bytes_total",
        "libp2p_swarm_connections_established_total",
        "libp2p_bandwidth_bytes_total",
        "gossipsub_",
    ] {
        assert!(text.contains(name), "{name} is not in\n{text}");
    }
}
