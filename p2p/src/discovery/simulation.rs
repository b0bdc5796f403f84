//! A node among a thousand candidates, of which some come and go, some lie, and some are of another chain; in virtual
//! time, with seeded randomness.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::{Duration, Instant},
};

use libp2p::{Multiaddr, PeerId, multiaddr::Protocol, multihash::Multihash};
use rand::{Rng, SeedableRng, rngs::StdRng, seq::IteratorRandom};

use super::{
    book::{CAPACITY, Setback},
    planner::{Action, Planner, View},
    rotation::Held,
};
use crate::{config::Discovery, peers::Direction};

const TARGET: u32 = 24;
const STEP: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Nature {
    /// Serves.
    Useful,
    /// Connects and serves nothing.
    Useless,
    /// Nobody is there, or somebody else.
    Lie,
    OtherChain,
}

struct Stranger {
    nature: Nature,
    address: Multiaddr,
    online: bool,
}

struct World {
    rng: StdRng,
    start: Instant,
    now: Instant,
    strangers: BTreeMap<PeerId, Stranger>,
    planner: Planner,
    held: Vec<Held>,
    /// What came of each; one that succeeded is not dialed again before it was lost.
    dials: Vec<(Instant, PeerId, Setback)>,
    walking: Option<Instant>,
    retired: usize,
}

/// As the hash of a key would be.
fn peer(rng: &mut StdRng) -> PeerId {
    const SHA2_256: u64 = 0x12;
    let digest: [u8; 32] = rng.random();
    PeerId::from_multihash(Multihash::wrap(SHA2_256, &digest).unwrap()).unwrap()
}

impl World {
    fn new(seed: u64) -> Self {
        let (mut rng, start) = (StdRng::seed_from_u64(seed), Instant::now());
        let strangers = (0..1000_u32).map(|number| {
            let nature = match rng.random_range(0..10) {
                0..3 => Nature::Useful,
                3..6 => Nature::Useless,
                6..9 => Nature::Lie,
                _ => Nature::OtherChain,
            };
            let address = Multiaddr::from(std::net::Ipv4Addr::from(0x0b00_0000 + number * 256)).with(Protocol::Tcp(1));
            (peer(&mut rng), Stranger { nature, address, online: true })
        });
        let strangers = strangers.collect();
        let config = Discovery { target_peers: TARGET, ..Discovery::default() };
        let planner = Planner::new(&config, -25.0, start, &mut rng);
        let (held, dials) = (Vec::new(), Vec::new());
        Self { rng, start, now: start, strangers, planner, held, dials, walking: None, retired: 0 }
    }

    fn run(&mut self, time: Duration) {
        let until = self.now + time;
        while self.now < until {
            self.now += STEP;
            self.churn();
            self.serve();
            self.end_walk();
            let excluded: HashSet<_> = self.held.iter().map(|held| held.peer).collect();
            let view = View {
                held: &self.held,
                dialing: 0,
                free_dials: 8,
                outbound_room: 64_usize.saturating_sub(self.held.len()),
                inbound_limit: 96,
                may_walk: self.walking.is_none(),
                excluded: &excluded,
            };
            for action in self.planner.tick(&view, self.now, &mut self.rng) {
                self.act(action);
            }
            assert!(self.planner.candidates() <= CAPACITY);
            assert!(self.held.len() <= TARGET as usize);
        }
    }

    /// In an hour a third of all peers goes, for ten minutes on average. Looked at every minute.
    fn churn(&mut self) {
        let elapsed = self.now.saturating_duration_since(self.start).as_secs();
        if !elapsed.is_multiple_of(60) {
            return;
        }
        for stranger in self.strangers.values_mut() {
            let change = if stranger.online { 0.33 / 60.0 } else { 0.1 };
            stranger.online ^= self.rng.random_bool(change);
        }
        let gone: Vec<_> = self.held.iter().map(|held| held.peer).filter(|peer| !self.strangers[peer].online).collect();
        for peer in gone {
            self.lose(peer, Setback::Unreachable);
        }
    }

    fn serve(&mut self) {
        for held in &mut self.held {
            if self.strangers[&held.peer].nature == Nature::Useful {
                held.bytes_in += 128 * 1024;
            }
        }
    }

    /// Twenty peers are found, liars among them.
    fn end_walk(&mut self) {
        if self.walking.is_none_or(|until| until > self.now) {
            return;
        }
        self.walking = None;
        let found: Vec<_> = self.strangers.iter().map(|(peer, stranger)| (*peer, stranger.address.clone())).collect();
        let found = found.into_iter().choose_multiple(&mut self.rng, 20);
        let (planner, now) = (&mut self.planner, self.now);
        let rng = &mut self.rng;
        let newcomers = found.into_iter().filter(|(peer, address)| planner.learn(*peer, [address.clone()], now, rng));
        let newcomers = newcomers.count();
        self.planner.walked(newcomers, now, self.rng.random());
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Boot => {}
            Action::Walk(_) => self.walking = Some(self.now + Duration::from_secs(3)),
            Action::Retire(peer) => {
                self.retired += 1;
                self.lose(peer, Setback::Full);
            }
            Action::Dial(candidate) => {
                let stranger = &self.strangers[&candidate.peer];
                assert!(candidate.addresses.contains(&stranger.address));
                let setback = match stranger.nature {
                    Nature::OtherChain if stranger.online => Setback::Unsuitable,
                    _ => Setback::Unreachable,
                };
                self.dials.push((self.now, candidate.peer, setback));
                match stranger.nature {
                    Nature::Useful | Nature::Useless if stranger.online => self.hold(candidate.peer),
                    _ => self.fail(candidate.peer, setback),
                }
            }
        }
    }

    fn hold(&mut self, peer: PeerId) {
        let address = self.strangers[&peer].address.clone();
        self.planner.ready(peer, address.clone(), self.now, &mut self.rng);
        self.held.push(Held {
            peer,
            direction: Direction::Outbound,
            address: Some(address),
            kept: false,
            bytes_in: 0,
            bytes_out: 0,
            score: 0.0,
            ahead: true,
        });
    }

    fn lose(&mut self, peer: PeerId, why: Setback) {
        self.held.retain(|held| held.peer != peer);
        self.fail(peer, why);
    }

    fn fail(&mut self, peer: PeerId, why: Setback) {
        let jitter = self.rng.random();
        self.planner.failed(&peer, why, self.now, jitter);
    }

    fn useful(&self) -> usize {
        self.held.iter().filter(|held| self.strangers[&held.peer].nature == Nature::Useful).count()
    }
}

#[test]
fn the_same_seed_gives_the_same_dials() {
    let dials = || {
        let mut world = World::new(7);
        world.run(Duration::from_secs(1800));
        let start = world.start;
        world.dials.into_iter().map(|(at, peer, _)| (at - start, peer)).collect::<Vec<_>>()
    };
    assert_eq!(dials(), dials());
}

#[test]
fn peers_are_found_quickly_and_kept_at_the_target() {
    for seed in 0..3 {
        let mut world = World::new(seed);
        world.run(Duration::from_secs(120));
        assert!(world.held.len() >= 20, "seed {seed}: {}", world.held.len());
        let mut low = 0;
        for _ in 0..120 {
            world.run(Duration::from_secs(60));
            low += usize::from(world.held.len() < TARGET as usize - 2);
        }
        assert!(low <= 6, "seed {seed}: {low} of 120 minutes below");
    }
}

#[test]
fn useless_peers_make_place_until_most_are_useful() {
    for seed in 0..2 {
        let mut world = World::new(seed);
        world.run(Duration::from_secs(300));
        let before = world.useful();
        world.run(Duration::from_secs(6 * 3600));
        assert!(world.retired > 0);
        let mut useful = 0;
        for _ in 0..12 {
            world.run(Duration::from_secs(600));
            useful += world.useful();
        }
        // By chance it would be half of them, and those that are of use go as well.
        assert!(useful >= 12 * 15, "seed {seed}: {before} of {TARGET} at first, later {} on average", useful / 12);
    }
}

#[test]
fn dials_are_few_and_the_unsuitable_are_left_alone() {
    for seed in 0..2 {
        let mut world = World::new(seed);
        world.run(Duration::from_secs(8 * 3600));
        let hours = world.now.saturating_duration_since(world.start).as_secs_f64() / 3600.0;
        let rate = world.dials.len() as f64 / hours;
        assert!(rate < 200.0, "seed {seed}: {rate} dials an hour");
        let rules = Discovery::default().redial;
        let mut last: HashMap<PeerId, (Instant, Setback)> = HashMap::new();
        for (at, peer, setback) in &world.dials {
            let before = last.insert(*peer, (*at, *setback));
            // Half of the delay is jitter.
            let pause = match before {
                Some((before, Setback::Unsuitable)) => (before, rules.unsuitable_delay / 2),
                Some((before, Setback::Unreachable | Setback::Full)) => (before, rules.first_delay / 2),
                None => continue,
            };
            assert!(*at - pause.0 >= pause.1, "seed {seed}: {peer} again after {:?}", *at - pause.0);
        }
    }
}
