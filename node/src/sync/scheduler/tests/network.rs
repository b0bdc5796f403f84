//! A simulated network: peers and archives with latency and rate, honest and not, in virtual time.

use std::{
    collections::{BTreeMap, BTreeSet, BinaryHeap, HashSet},
    time::{Duration, Instant},
};

use lapis_protocol_spec::{Height, HeightRanges, Status};
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::{items, missing, status};
use crate::sync::{
    archive::ArchiveId,
    scheduler::{
        Action, Blocked, Fetch, Item, Outcome, Report, RequestId, SIDECAR_BYTES, Scheduler, SchedulerConfig, SourceId,
    },
};

/// How a peer answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Behaviour {
    Honest,
    /// Serves only the first half of what it is asked for.
    Half,
    /// Claims everything, has nothing.
    Empty,
    /// Every item it sends fails verification.
    WrongData,
    /// Never answers; the exchange times out.
    Silent,
    /// Claims 2^64-1.
    Boaster,
}

struct Peer {
    id: SourceId,
    behaviour: Behaviour,
    latency: Duration,
    bytes_per_second: u64,
}

/// An answer on its way.
struct Pending {
    at: Instant,
    sequence: u64,
    action: Action,
    report: Report,
    wrong: bool,
}

impl PartialEq for Pending {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.sequence) == (other.at, other.sequence)
    }
}

impl Eq for Pending {}

impl PartialOrd for Pending {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Pending {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (other.at, other.sequence).cmp(&(self.at, self.sequence))
    }
}

pub(super) struct Network {
    scheduler: Scheduler,
    rng: StdRng,
    start: Instant,
    now: Instant,
    /// Peers and archives.
    peers: BTreeMap<SourceId, Peer>,
    pending: BinaryHeap<Pending>,
    outstanding: BTreeSet<Item>,
    withheld: BTreeSet<Item>,
    heights: u64,
    decided: u64,
    /// Peers hold no blobs below.
    floor: u64,
    pub(super) budget: u64,
    pub(super) peak_buffered: u64,
}

impl Network {
    /// `heights` heights, all decided, of `blobs` blobs each.
    pub(super) fn new(blobs: u64, heights: u64, behaviours: Vec<Behaviour>) -> Self {
        Self::with(StdRng::seed_from_u64(1), heights, |_| blobs, behaviours)
    }

    /// A network drawn from `seed`, with at least one honest peer.
    pub(super) fn random(seed: u64, heights: u64) -> Self {
        use Behaviour::{Boaster, Empty, Half, Honest, Silent, WrongData};
        let mut rng = StdRng::seed_from_u64(seed);
        let mut behaviours = vec![Honest];
        for _ in 0..rng.random_range(0..8) {
            behaviours.push([Honest, Half, Empty, WrongData, Silent, Boaster][rng.random_range(0..6)]);
        }
        let counts: Vec<u64> = (0..=heights).map(|_| [0, 1, 6, 9, 40][rng.random_range(0..5)]).collect();
        Self::with(rng, heights, move |height| counts[usize::try_from(height).unwrap()], behaviours)
    }

    /// The same with peers that hold no blobs below `floor`, and with archives that cover what is said of them.
    pub(super) fn pruned(seed: u64, heights: u64, floor: Height, archives: Vec<(Behaviour, HeightRanges)>) -> Self {
        let mut network = Self::random(seed, heights);
        network.floor = floor;
        for (id, peer) in &network.peers {
            let SourceId::Peer(id) = id else { continue };
            let claimed = if peer.behaviour == Behaviour::Boaster { u64::MAX } else { heights };
            network.scheduler.peer_status(*id, Status { earliest_blob_height: floor, ..status(claimed) });
        }
        for (index, (behaviour, held)) in archives.into_iter().enumerate() {
            let id = ArchiveId(index);
            network.scheduler.archive_covers(id, held);
            let archive = Peer { id: id.into(), ..peer(0, behaviour, &mut network.rng) };
            network.peers.insert(archive.id, archive);
        }
        network
    }

    fn with(mut rng: StdRng, heights: u64, blobs: impl Fn(u64) -> u64, behaviours: Vec<Behaviour>) -> Self {
        let budget = 128 * SIDECAR_BYTES;
        let config = SchedulerConfig {
            max_buffered_bytes: budget,
            max_request_bytes: 16 * SIDECAR_BYTES,
            ..SchedulerConfig::default()
        };
        let mut scheduler = Scheduler::new(config, heights, 0, 0);
        let gaps: Vec<_> = (1..=heights).map(|height| missing(height, blobs(height))).collect();
        let outstanding = gaps
            .iter()
            .flat_map(|gap| {
                let height = gap.value.value().height;
                let blobs = gap.blobs.iter().map(move |index| Item::Blob(height, *index));
                blobs.chain([Item::Payload(height)])
            })
            .collect();
        scheduler.load(gaps, heights);
        let start = Instant::now();
        let peers = behaviours.into_iter().enumerate().map(|(index, behaviour)| peer(index, behaviour, &mut rng));
        let peers: BTreeMap<SourceId, Peer> = peers.map(|peer| (peer.id, peer)).collect();
        for peer in peers.values() {
            let claimed = if peer.behaviour == Behaviour::Boaster { u64::MAX } else { heights };
            let SourceId::Peer(id) = peer.id else { continue };
            scheduler.peer_status(id, status(claimed));
        }
        let (pending, withheld) = (BinaryHeap::new(), BTreeSet::new());
        Self {
            scheduler,
            rng,
            start,
            now: start,
            peers,
            pending,
            outstanding,
            withheld,
            heights,
            decided: heights,
            floor: 0,
            budget,
            peak_buffered: 0,
        }
    }

    pub(super) fn withhold(&mut self, item: Item) {
        self.withheld.insert(item);
    }

    pub(super) fn release(&mut self) {
        self.withheld.clear();
    }

    pub(super) fn missing(&self) -> Vec<Item> {
        self.outstanding.iter().copied().collect()
    }

    pub(super) fn is_complete(&self) -> bool {
        self.outstanding.is_empty() && self.decided == self.heights
    }

    pub(super) fn progress(&self) -> (usize, Option<&Blocked>) {
        (self.outstanding.len(), self.scheduler.blocked())
    }

    pub(super) fn blocked(&self) -> Option<&Blocked> {
        self.scheduler.blocked()
    }

    /// Runs until all is stored or `limit` of virtual time is over. Gives what was asked of whom, and when.
    pub(super) fn run(&mut self, limit: Duration) -> Vec<(Duration, RequestId, SourceId)> {
        let mut trace = Vec::new();
        let end = self.now + limit;
        while !self.outstanding.is_empty() && self.now < end {
            for action in self.scheduler.poll(self.now, &mut self.rng) {
                trace.push((self.now - self.start, action.id, action.source));
                self.answer(action);
            }
            self.peak_buffered = self.peak_buffered.max(self.scheduler.buffered_bytes());
            let tick = self.now + Scheduler::TICK;
            match self.pending.peek() {
                Some(next) if next.at <= tick => self.deliver(),
                _ => self.now = tick,
            }
        }
        trace
    }

    fn answer(&mut self, action: Action) {
        let peer = &self.peers[&action.source];
        let asked: Vec<Item> = items(&action);
        let pruned = |item: &Item| matches!(item, Item::Blob(height, _) if *height < self.floor);
        assert!(!(peer.id.is_peer() && asked.iter().any(pruned)), "a peer was asked for what it has pruned");
        let held = |items: &[Item]| -> HashSet<Item> {
            items.iter().copied().filter(|item| !self.withheld.contains(item)).collect()
        };
        let (outcome, received) = match peer.behaviour {
            Behaviour::Honest | Behaviour::WrongData => (Outcome::Answered, held(&asked)),
            Behaviour::Half => (Outcome::Answered, held(&asked[..asked.len().div_ceil(2)])),
            Behaviour::Empty | Behaviour::Boaster => (Outcome::Unavailable, HashSet::new()),
            Behaviour::Silent => (Outcome::Broken, HashSet::new()),
        };
        let bytes = received.len() as u64 * SIDECAR_BYTES;
        let transfer = Duration::from_micros(bytes * 1_000_000 / peer.bytes_per_second);
        let wait = if peer.behaviour == Behaviour::Silent { Duration::from_secs(15) } else { peer.latency };
        let wrong = peer.behaviour == Behaviour::WrongData;
        let values = if let Fetch::Values(_) = action.fetch { 0 } else { received.len() as u64 };
        let report = Report { received, values, bytes, ..Report::empty(outcome) };
        let sequence = action.id.0;
        self.pending.push(Pending { at: self.now + wait + transfer, sequence, action, report, wrong });
    }

    fn deliver(&mut self) {
        let Some(Pending { at, action, report, wrong, .. }) = self.pending.pop() else { return };
        self.now = self.now.max(at);
        self.scheduler.finished(action.id, &report, self.now);
        let mut received: Vec<Item> = report.received.into_iter().collect();
        received.sort_unstable();
        for item in received {
            if wrong {
                self.scheduler.faulty(action.source, item, self.now);
            } else if self.outstanding.remove(&item) {
                // Else it was asked for twice, and both answered.
                self.scheduler.stored(item);
            }
        }
    }
}

fn peer(index: usize, behaviour: Behaviour, rng: &mut StdRng) -> Peer {
    // Derived, so that a seed gives the same peers every time.
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&(index as u64).to_le_bytes());
    let key = libp2p::identity::Keypair::ed25519_from_bytes(seed).unwrap();
    let latency = Duration::from_millis(rng.random_range(1..200));
    let bytes_per_second = rng.random_range(100_000..50_000_000);
    Peer { id: key.public().to_peer_id().into(), behaviour, latency, bytes_per_second }
}
