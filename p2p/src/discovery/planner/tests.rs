#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::time::Duration;

use libp2p::multiaddr::Protocol;
use rand::{SeedableRng, rngs::StdRng};

use super::*;

fn rng() -> StdRng {
    StdRng::seed_from_u64(11)
}

fn planner(target_peers: u32, now: Instant) -> Planner {
    Planner::new(&Discovery { target_peers, ..Discovery::default() }, -25.0, now, &mut rng())
}

fn address(number: u32) -> Multiaddr {
    Multiaddr::from(std::net::Ipv4Addr::from(0x0b00_0000 + number * 256)).with(Protocol::Tcp(9650))
}

fn held(direction: Direction) -> Held {
    let address = (direction == Direction::Outbound).then(|| address(1_000_000));
    Held { peer: PeerId::random(), direction, address, kept: false, bytes_in: 0, bytes_out: 0, score: 0.0, ahead: true }
}

struct Place {
    held: Vec<Held>,
    dialing: usize,
    free_dials: usize,
    outbound_room: usize,
    may_walk: bool,
    excluded: HashSet<PeerId>,
}

impl Default for Place {
    fn default() -> Self {
        let excluded = HashSet::new();
        Self { held: Vec::new(), dialing: 0, free_dials: 8, outbound_room: 64, may_walk: false, excluded }
    }
}

impl Place {
    fn tick(&self, planner: &mut Planner, now: Instant) -> Vec<Action> {
        let view = View {
            held: &self.held,
            dialing: self.dialing,
            free_dials: self.free_dials,
            outbound_room: self.outbound_room,
            inbound_limit: 96,
            may_walk: self.may_walk,
            excluded: &self.excluded,
        };
        planner.tick(&view, now, &mut rng())
    }
}

#[test]
fn boot_nodes_are_asked_when_there_is_nobody_else_and_not_otherwise() {
    let now = Instant::now();
    let mut planner = planner(4, now);
    assert_eq!(Place::default().tick(&mut planner, now), [Action::Boot]);
    planner.learn(PeerId::random(), [address(1)], now, &mut rng());
    assert!(matches!(Place::default().tick(&mut planner, now).as_slice(), [Action::Dial(_)]));
    let enough = Place { held: vec![held(Direction::Outbound); 4], ..Place::default() };
    assert_eq!(enough.tick(&mut planner, now), []);
}

#[test]
fn a_target_of_none_dials_nobody() {
    let now = Instant::now();
    let mut planner = planner(0, now);
    planner.learn(PeerId::random(), [address(1)], now, &mut rng());
    let place = Place { may_walk: true, ..Place::default() };
    assert_eq!(place.tick(&mut planner, now + Duration::from_secs(3600)), []);
}

#[test]
fn no_more_is_dialed_than_lacks_and_than_there_is_room_for() {
    let now = Instant::now();
    let mut planner = planner(24, now);
    for number in 0..100 {
        planner.learn(PeerId::random(), [address(number)], now, &mut rng());
    }
    let dials = |place: Place, planner: &mut Planner| place.tick(planner, now).len();
    assert_eq!(dials(Place { free_dials: 100, ..Place::default() }, &mut planner), DIALS);
    assert_eq!(dials(Place { dialing: DIALS - 1, ..Place::default() }, &mut planner), 1);
    assert_eq!(dials(Place { free_dials: 2, ..Place::default() }, &mut planner), 2);
    assert_eq!(dials(Place { outbound_room: 3, ..Place::default() }, &mut planner), 3);
    assert_eq!(dials(Place { outbound_room: 0, ..Place::default() }, &mut planner), 0);
    let almost = Place { held: vec![held(Direction::Outbound); 23], ..Place::default() };
    assert_eq!(dials(almost, &mut planner), 1);
}

#[test]
fn those_who_come_by_themselves_are_never_all_it_has() {
    let now = Instant::now();
    let mut planner = planner(24, now);
    let besieged = vec![held(Direction::Inbound); 90];
    assert_eq!(planner.lacking(&besieged), 12);
    planner.learn(PeerId::random(), [address(1)], now, &mut rng());
    let actions = Place { held: besieged, ..Place::default() }.tick(&mut planner, now);
    assert!(matches!(actions.as_slice(), [Action::Dial(_)]), "{actions:?}");
}

#[test]
fn one_neighbourhood_does_not_get_all_places() {
    let now = Instant::now();
    let mut planner = planner(24, now);
    for port in 1..100 {
        let neighbour = Multiaddr::from(std::net::Ipv4Addr::new(11, 1, 1, 1)).with(Protocol::Tcp(port));
        planner.learn(PeerId::random(), [neighbour], now, &mut rng());
    }
    assert_eq!(Place::default().tick(&mut planner, now).len(), NEIGHBOURS);
    let neighbours = (0..NEIGHBOURS)
        .map(|_| Held { address: Some("/ip4/11.1.1.9/tcp/1".parse().unwrap()), ..held(Direction::Outbound) });
    let place = Place { held: neighbours.collect(), ..Place::default() };
    assert_eq!(place.tick(&mut planner, now), [Action::Boot]);
}

#[test]
fn excluded_peers_are_not_dialed() {
    let now = Instant::now();
    let mut planner = planner(24, now);
    let peer = PeerId::random();
    planner.learn(peer, [address(1)], now, &mut rng());
    let place = Place { excluded: HashSet::from([peer]), ..Place::default() };
    assert_eq!(place.tick(&mut planner, now), [Action::Boot]);
}

#[test]
fn kademlia_is_walked_while_peers_lack_and_nobody_is_left_to_dial() {
    let now = Instant::now();
    let mut planner = planner(4, now);
    let place = Place { may_walk: true, ..Place::default() };
    assert_eq!(place.tick(&mut planner, now), [Action::Boot, Action::Walk(Destination::Own)]);
    planner.walked(0, now, 1.0);
    assert_eq!(place.tick(&mut planner, now), [Action::Boot]);
    assert_eq!(
        place.tick(&mut planner, now + Duration::from_secs(10)),
        [Action::Boot, Action::Walk(Destination::Random)]
    );
}

#[test]
fn with_enough_peers_and_nobody_else_to_try_walks_go_on_rarely() {
    let start = Instant::now();
    let mut planner = planner(2, start);
    let place = Place { held: vec![held(Direction::Outbound); 2], may_walk: true, ..Place::default() };
    let mut walks = 0;
    for second in 0..3600 {
        let now = start + Duration::from_secs(second);
        let walked = place.tick(&mut planner, now).iter().filter(|action| matches!(action, Action::Walk(_))).count();
        (0..walked).for_each(|_| planner.walked(0, now, 1.0));
        walks += walked;
    }
    assert!((10..25).contains(&walks), "{walks} in an hour");
}

#[test]
fn more_peers_than_wanted_are_reason_enough_for_a_useless_one_to_go() {
    let start = Instant::now();
    let mut planner = planner(2, start);
    let place = Place { held: (0..3).map(|_| held(Direction::Outbound)).collect(), ..Place::default() };
    assert_eq!(place.tick(&mut planner, start), []);
    let actions = place.tick(&mut planner, start + Discovery::default().rotate_every);
    assert!(matches!(actions.as_slice(), [Action::Retire(_)]), "{actions:?}");
}

#[test]
fn a_useless_peer_goes_only_if_there_is_another_to_try() {
    let start = Instant::now();
    let mut planner = planner(2, start);
    let place = Place { held: vec![held(Direction::Outbound), held(Direction::Outbound)], ..Place::default() };
    let every = Discovery::default().rotate_every;
    for period in 0..3 {
        assert_eq!(place.tick(&mut planner, start + every * period), []);
    }
    planner.learn(PeerId::random(), [address(1)], start, &mut rng());
    let actions = place.tick(&mut planner, start + every * 3);
    assert!(matches!(actions.as_slice(), [Action::Retire(_)]), "{actions:?}");
}

#[test]
fn the_next_run_knows_whom_this_one_reached() {
    let now = Instant::now();
    let mut planner = planner(4, now);
    let peer = PeerId::random();
    planner.learn(PeerId::random(), [address(2)], now, &mut rng());
    planner.ready(peer, address(1), now, &mut rng());
    let known = planner.known(now + Duration::from_secs(60));
    assert_eq!(known.len(), 1);
    assert_eq!((known[0].peer, known[0].seen), (peer, Duration::from_secs(60)));
    let config = Discovery { target_peers: 4, known, ..Discovery::default() };
    let mut next = Planner::new(&config, -25.0, now, &mut rng());
    let actions = Place::default().tick(&mut next, now);
    assert_eq!(actions, [Action::Dial(Candidate { peer, addresses: vec![address(1)] })]);
}

/// Peers that are remembered for what they did wrong have no addresses, and may be many.
#[test]
fn bad_scores_of_strangers_take_no_place_from_peers_to_begin_with() {
    let now = Instant::now();
    let stranger = || KnownPeer {
        peer: PeerId::random(),
        addresses: Vec::new(),
        seen: std::time::Duration::ZERO,
        useful_bytes: 0,
        score: -2.0,
    };
    let mut known: Vec<_> = (0..4096).map(|_| stranger()).collect();
    known.push(KnownPeer { addresses: vec![address(1)], seen: Duration::from_secs(60), ..stranger() });
    let planner = Planner::new(&Discovery { known, ..Discovery::default() }, -25.0, now, &mut rng());
    assert_eq!(planner.candidates(), 1);
}
