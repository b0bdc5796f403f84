//! Whatever happens in whatever order: memory is bounded, and nothing of it is lost.

use rand::Rng;

use super::*;

const HEIGHTS: Height = 30;
const BLOBS: u64 = 5;

/// A world in which everything goes wrong now and then.
struct Chaos {
    bench: Bench,
    rng: StdRng,
    open: Vec<(Action, Report, Vec<Item>)>,
    /// Received, in verification or on their way to the store.
    held: Vec<(SourceId, Item)>,
    stored: BTreeSet<Item>,
    peers: Vec<PeerId>,
    decided: Height,
    waived: Height,
    most: u64,
}

impl Chaos {
    fn new(seed: u64) -> Self {
        let config = SchedulerConfig {
            max_buffered_bytes: 32 * SIDECAR_BYTES,
            max_request_bytes: 2 * SIDECAR_BYTES,
            hedge_bytes: 6 * SIDECAR_BYTES,
            ..SchedulerConfig::default()
        };
        let mut bench = Bench::new(config, 0);
        bench.scheduler.archive_covers(ArchiveId(0), std::iter::once(1..HEIGHTS / 2).collect());
        bench.scheduler.pool_announced(true);
        Self {
            bench,
            rng: StdRng::seed_from_u64(seed),
            open: Vec::new(),
            held: Vec::new(),
            stored: BTreeSet::new(),
            peers: (0..6).map(|_| PeerId::random()).collect(),
            decided: 0,
            waived: 0,
            most: config.max_buffered_bytes,
        }
    }

    fn chance(&mut self, one_in: u32) -> bool {
        self.rng.random_ratio(1, one_in)
    }

    fn pick(&mut self, of: usize) -> Option<usize> {
        (of > 0).then(|| self.rng.random_range(0..of))
    }

    fn step(&mut self, is_calm: bool) {
        self.bench.now += Duration::from_millis(self.rng.random_range(1..60));
        if self.decided < HEIGHTS && self.chance(4) {
            self.decided += 1;
            self.bench.scheduler.set_decided(self.decided);
            self.bench.scheduler.load(vec![missing(self.decided, BLOBS)], self.decided);
        }
        if is_calm || self.chance(4) {
            let peer = self.peers[self.rng.random_range(0..self.peers.len())];
            let below = if is_calm { 0 } else { self.rng.random_range(0..4) };
            self.bench.scheduler.peer_status(peer, status(self.decided.saturating_sub(below)));
        }
        if !is_calm && self.chance(20) {
            let peer = self.peers[self.rng.random_range(0..self.peers.len())];
            self.bench.scheduler.peer_gone(peer);
            self.bench.scheduler.pool_announced(self.rng.random());
        }
        if !is_calm && self.chance(60) {
            self.waived = self.decided / 3;
            self.bench.scheduler.waive_blobs_below(self.waived);
        }
        for _ in 0..4 {
            self.exchange(is_calm);
            self.verify(is_calm);
        }
        self.cancel();
        for action in self.bench.poll() {
            let rest = items(&action);
            self.open.push((action, Report::empty(Outcome::Answered), rest));
        }
        let scheduler = &self.bench.scheduler;
        assert!(scheduler.buffered_bytes() <= self.most, "{}", scheduler.buffered_bytes());
        assert!(scheduler.data.reserved() <= scheduler.config.first_room());
        assert!(scheduler.data.hedged() <= scheduler.config.hedge_room());
        assert_eq!(scheduler.in_flight(), self.open.len());
    }

    /// Something happens in one exchange.
    fn exchange(&mut self, is_calm: bool) {
        let Some(place) = self.pick(self.open.len()) else { return };
        if !is_calm && self.open[place].0.id.0.is_multiple_of(3) {
            // It is silent until it is given up.
            return;
        }
        let ends = self.open[place].2.is_empty() || (!is_calm && self.chance(8));
        if !ends {
            return self.bring(place);
        }
        let (action, report, rest) = self.open.remove(place);
        let wrong = [Outcome::Broken, Outcome::RateLimited, Outcome::Faulty, Outcome::Unavailable, Outcome::Local];
        let outcome = if rest.is_empty() { Outcome::Answered } else { wrong[self.rng.random_range(0..wrong.len())] };
        self.bench.scheduler.finished(action.id, &Report { outcome, ..report }, self.bench.now);
    }

    /// The next item comes: as the first, or after somebody else's.
    fn bring(&mut self, place: usize) {
        let is_told = !self.chance(4);
        let (action, report, rest) = &mut self.open[place];
        let item = rest.remove(0);
        let is_new = !self.stored.contains(&item) && self.held.iter().all(|(_, held)| *held != item);
        let bytes = if item.is_payload() { 1000 } else { SIDECAR_BYTES };
        report.bytes += bytes;
        if is_new {
            report.received.insert(item);
            self.held.push((action.source, item));
        } else {
            report.duplicates.insert(item);
            report.duplicate_bytes += bytes;
        }
        if is_told {
            self.bench.scheduler.received(action.id, is_new.then_some(item), bytes, self.bench.now);
        }
    }

    fn verify(&mut self, is_calm: bool) {
        let Some(place) = self.pick(self.held.len()) else { return };
        let (source, item) = self.held.remove(place);
        if is_calm || !self.chance(10) {
            self.stored.insert(item);
            self.bench.scheduler.stored(item);
        } else if self.chance(8) {
            self.bench.scheduler.not_stored(item, self.bench.now);
        } else {
            self.bench.scheduler.faulty(source, item, self.bench.now);
        }
    }

    fn cancel(&mut self) {
        for id in self.bench.scheduler.cancellations(self.bench.now) {
            let place = self.open.iter().position(|(action, ..)| action.id == id).expect("it is under way");
            let (action, report, _) = self.open.remove(place);
            self.bench.scheduler.finished(action.id, &Report { outcome: Outcome::Local, ..report }, self.bench.now);
        }
    }

    fn is_done(&self) -> bool {
        let is_stored = |height| {
            let blobs = (0..BLOBS).map(move |index| Item::Blob(height, index));
            let wanted = blobs.filter(|_| height >= self.waived).chain([Item::Payload(height)]);
            wanted.into_iter().all(|item| self.stored.contains(&item))
        };
        self.decided == HEIGHTS && (1..=HEIGHTS).all(is_stored)
    }
}

#[test]
fn memory_is_bounded_and_released_whatever_happens() {
    let mut counted = Stats::default();
    for seed in 0..40 {
        let mut chaos = Chaos::new(seed);
        (0..600).for_each(|_| chaos.step(false));
        // What was sent wrong is not asked of the same for minutes.
        chaos.peers.extend((0..2).map(|_| PeerId::random()));
        let rest = (0..40_000).find(|_| {
            chaos.step(true);
            chaos.is_done() && chaos.open.is_empty() && chaos.held.is_empty()
        });
        let scheduler = &chaos.bench.scheduler;
        assert!(rest.is_some(), "seed {seed}: {:?}", scheduler.blocked());
        assert_eq!((scheduler.buffered_bytes(), scheduler.in_flight()), (0, 0), "seed {seed}");
        let stats = scheduler.stats();
        counted.hedges += stats.hedges;
        counted.pool_calls += stats.pool_calls;
        counted.unclaimed_requests += stats.unclaimed_requests;
    }
    let Stats { hedges, pool_calls, unclaimed_requests, .. } = counted;
    assert!(hedges > 100 && pool_calls > 100 && unclaimed_requests > 100, "all of it was in play: {counted:?}");
}
