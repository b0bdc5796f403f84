#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use futures::task::noop_waker;

use super::*;

fn routing(least: Reach, entries: &[(PeerId, Multiaddr)]) -> Routing {
    let mut routing = Routing::new(PeerId::random(), &Bytes32::from([7; 32]));
    routing.set_least(least);
    for (peer, address) in entries {
        routing.add(peer, std::slice::from_ref(address));
    }
    routing
}

fn entries(number: u16) -> Vec<(PeerId, Multiaddr)> {
    let address = |port| format!("/ip4/127.0.0.1/tcp/{port}").parse().unwrap();
    (1..=number).map(|port| (PeerId::random(), address(port))).collect()
}

/// Walks, and gives those that would be dialed and whether the walk has ended.
fn walk(routing: &mut Routing) -> (Vec<PeerId>, bool) {
    routing.walk(Destination::Random, PeerId::random());
    let waker = noop_waker();
    let (mut dialed, mut ended) = (Vec::new(), false);
    while let Poll::Ready(event) = routing.poll(&mut Context::from_waker(&waker)) {
        match event {
            ToSwarm::Dial { opts } => dialed.extend(opts.get_peer_id()),
            ToSwarm::GenerateEvent(kad::Event::OutboundQueryProgressed { step, .. }) => ended |= step.last,
            _ => {}
        }
    }
    (dialed, ended)
}

#[test]
fn the_name_carries_the_chain() {
    assert_eq!(protocol(&Bytes32::from([7; 32])).as_ref(), "/lapis/07070707/kad/1");
    let routing = routing(Reach::Machine, &[]);
    assert!(routing.is_server(&[protocol(&Bytes32::from([7; 32]))]));
    assert!(!routing.is_server(&[protocol(&Bytes32::from([8; 32]))]));
}

#[test]
fn a_query_that_may_not_dial_ends_and_tells_whom_it_would_have_dialed() {
    let known = entries(3);
    let mut routing = routing(Reach::Machine, &known);
    assert!(routing.knows_anyone());
    assert_eq!(walk(&mut routing), (Vec::new(), true));
    let mut told = routing.take_told();
    told.sort();
    let mut expected: Vec<_> = known.into_iter().map(|(peer, address)| (peer, vec![address])).collect();
    expected.sort();
    assert_eq!(told, expected);
    assert!(routing.take_told().is_empty());
}

#[test]
fn a_query_dials_no_more_than_it_may_and_nobody_who_is_to_be_left_alone() {
    let known = entries(3);
    let mut routing = routing(Reach::Machine, &known);
    routing.allow(1, HashSet::new());
    assert_eq!(walk(&mut routing).0.len(), 1);
    let left_alone: HashSet<_> = known.iter().skip(1).map(|(peer, _)| *peer).collect();
    routing.allow(3, left_alone);
    assert_eq!(walk(&mut routing).0, [known[0].0]);
}

#[test]
fn no_address_is_dialed_that_is_not_plausible() {
    let known = entries(1);
    let mut routing = routing(Reach::Global, &known);
    let addresses = routing.handle_pending_outbound_connection(
        ConnectionId::new_unchecked(1),
        Some(known[0].0),
        &[],
        Endpoint::Dialer,
    );
    assert_eq!(addresses.unwrap(), Vec::<Multiaddr>::new());
}

#[test]
fn what_waits_to_be_noted_is_bounded() {
    let mut routing = routing(Reach::Machine, &entries(400));
    for _ in 0..200 {
        walk(&mut routing);
    }
    assert!((20..=TOLD).contains(&routing.take_told().len()));
}

#[test]
fn a_peer_that_tells_of_ever_new_addresses_has_but_the_last_ones() {
    let (mut routing, peer) = (routing(Reach::Machine, &entries(3)), PeerId::random());
    for round in 0..1000_u16 {
        let address = |number| format!("/ip4/127.0.0.1/tcp/{}", 8 * round + number + 1).parse().unwrap();
        let addresses: Vec<Multiaddr> = (0..8).map(address).collect();
        routing.add(&peer, &addresses);
        let kept = routing.addresses(&peer);
        assert_eq!(kept.len(), addresses.len(), "after {round} rounds");
        assert!(addresses.iter().all(|address| kept.contains(&address.clone().with_p2p(peer).unwrap())));
    }
}
