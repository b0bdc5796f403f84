#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use libp2p::swarm::{ListenError, behaviour::ListenFailure};
use prometheus_client::registry::Registry;

use super::*;

fn behaviour(limit: u32, loopback: Loopback) -> Behaviour {
    let limits = ConnectionLimits { per_ip: limit, loopback, ..ConnectionLimits::default() };
    Behaviour::new(&limits, Metrics::new(&mut Registry::default()))
}

/// Tries to open connection `number` from `address`.
fn open(behaviour: &mut Behaviour, number: usize, address: &str) -> bool {
    let (local, remote) = (Multiaddr::empty(), address.parse().unwrap());
    behaviour.handle_pending_inbound_connection(ConnectionId::new_unchecked(number), &local, &remote).is_ok()
}

/// Completes the handshake of connection `number`.
fn establish(behaviour: &mut Behaviour, number: usize) {
    let (connection, nowhere) = (ConnectionId::new_unchecked(number), Multiaddr::empty());
    behaviour.handle_established_inbound_connection(connection, PeerId::random(), &nowhere, &nowhere).unwrap();
}

fn fail(behaviour: &mut Behaviour, number: usize) {
    behaviour.on_swarm_event(FromSwarm::ListenFailure(ListenFailure {
        local_addr: &Multiaddr::empty(),
        send_back_addr: &Multiaddr::empty(),
        error: &ListenError::Aborted,
        connection_id: ConnectionId::new_unchecked(number),
        peer_id: None,
    }));
}

#[test]
fn connections_of_one_address_are_limited_and_those_of_others_are_not() {
    let mut behaviour = behaviour(2, Loopback::Exempt);
    assert!(open(&mut behaviour, 1, "/ip4/192.0.2.1/tcp/1000"));
    assert!(open(&mut behaviour, 2, "/ip4/192.0.2.1/udp/1000/quic-v1"), "whatever the transport");
    assert!(!open(&mut behaviour, 3, "/ip4/192.0.2.1/tcp/1001"));
    assert!(!open(&mut behaviour, 4, "/ip6/::ffff:192.0.2.1/tcp/1001"), "the same address, mapped");
    assert!(open(&mut behaviour, 5, "/ip4/192.0.2.2/tcp/1001"));
    fail(&mut behaviour, 3);
    assert!(!open(&mut behaviour, 6, "/ip4/192.0.2.1/tcp/1002"), "a refused one gives nothing back");
    fail(&mut behaviour, 1);
    assert!(open(&mut behaviour, 7, "/ip4/192.0.2.1/tcp/1002"));
}

#[test]
fn a_network_of_64_bits_is_one_address() {
    let mut behaviour = behaviour(1, Loopback::Exempt);
    assert!(open(&mut behaviour, 1, "/ip6/2001:db8:0:1::1/tcp/1"));
    assert!(!open(&mut behaviour, 2, "/ip6/2001:db8:0:1:ffff:ffff:ffff:ffff/tcp/1"));
    assert!(open(&mut behaviour, 3, "/ip6/2001:db8:0:2::1/tcp/1"));
}

#[test]
fn the_loopback_address_is_exempt_unless_it_is_to_be_counted() {
    let (mut exempt, mut counted) = (behaviour(1, Loopback::Exempt), behaviour(1, Loopback::Counted));
    for (number, address) in ["/ip4/127.0.0.1/tcp/1", "/ip4/127.0.0.1/tcp/2", "/ip6/::1/tcp/1"].iter().enumerate() {
        assert!(open(&mut exempt, number, address));
    }
    assert!(open(&mut counted, 1, "/ip4/127.0.0.1/tcp/1"));
    assert!(!open(&mut counted, 2, "/ip4/127.0.0.1/tcp/2"));
    assert!(open(&mut counted, 3, "/memory/5"), "no address at all");
}

#[test]
fn nothing_is_kept_of_connections_that_are_gone() {
    let mut behaviour = behaviour(3, Loopback::Exempt);
    for number in 0..100_000 {
        let address = format!("/ip4/10.{}.{}.{}/tcp/1", number % 7, number % 11, number % 250);
        let opened = open(&mut behaviour, number, &address);
        if opened && number % 3 == 0 {
            establish(&mut behaviour, number);
        }
        if number >= 10 {
            fail(&mut behaviour, number - 10);
        }
    }
    for number in 99_990..100_000 {
        fail(&mut behaviour, number);
    }
    assert!(behaviour.connections.is_empty() && behaviour.counts.is_empty());
}

#[test]
fn one_address_has_few_of_the_handshakes_under_way() {
    let limits = ConnectionLimits { per_ip: 16, pending_inbound: 128, ..ConnectionLimits::default() };
    let mut behaviour = Behaviour::new(&limits, Metrics::new(&mut Registry::default()));
    let opened = |behaviour: &mut Behaviour, numbers: std::ops::Range<usize>| {
        numbers.filter(|number| open(behaviour, *number, "/ip4/192.0.2.1/tcp/1000")).count()
    };
    assert_eq!(opened(&mut behaviour, 0..100), 4);
    assert!(open(&mut behaviour, 100, "/ip4/192.0.2.2/tcp/1000"), "others are not kept out");
    for number in 0..4 {
        establish(&mut behaviour, number);
    }
    assert_eq!(opened(&mut behaviour, 200..300), 4, "who says something may open more");
    for number in 200..204 {
        fail(&mut behaviour, number);
    }
    assert_eq!(opened(&mut behaviour, 300..400), 4);
    for round in 0..2 {
        for number in (300 + 100 * round)..(304 + 100 * round) {
            establish(&mut behaviour, number);
        }
        assert_eq!(opened(&mut behaviour, (400 + 100 * round)..(500 + 100 * round)), 4);
    }
    (500..504).for_each(|number| establish(&mut behaviour, number));
    assert_eq!(opened(&mut behaviour, 600..700), 0, "sixteen in all");
}
