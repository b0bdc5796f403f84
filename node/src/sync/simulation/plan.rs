//! What a seed says: the chain, the machine, and the peers with their ways.

use std::time::Duration;

use lapis_protocol_spec::{Height, PayloadEnvelope};
use rand::{Rng, SeedableRng, rngs::StdRng, seq::SliceRandom};

use super::{
    growth::Growth,
    peer::{Conduct, Holds, PeerPlan, Presence},
};
use crate::sync::scheduler::{SIDECAR_BYTES, SchedulerConfig};

/// A node in a network that it knows nothing of.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What all of it was drawn from.
    pub seed: u64,
    /// What each height has, from height 1 on.
    pub chain: Vec<Block>,
    /// Bounds of the scheduler.
    pub config: SchedulerConfig,
    /// The node's own machine and line.
    pub machine: Machine,
    /// Everybody else.
    pub peers: Vec<PeerPlan>,
    /// How the chain becomes what it is, if it is not from the beginning.
    pub growth: Option<Growth>,
}

/// What one height has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// Number of blobs.
    pub blobs: u64,
    /// Bytes of the payload.
    pub payload_bytes: u64,
}

/// The node's own machine and line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Bytes per second that its line takes.
    pub line: u64,
    /// Bytes that a new stream takes before a first round trip has told its writer to go on; what it has taken doubles
    /// with each further one. `None` for streams that begin at full rate.
    pub first_window: Option<u64>,
    /// Time that verification takes per blob, all threads together.
    pub verify: Duration,
    /// Time that a transaction takes, beside what its bytes take.
    pub commit: Duration,
    /// Bytes per second that its disk takes.
    pub disk: u64,
    /// Time that import takes per height.
    pub import: Duration,
}

pub(super) const MIB: u64 = 1024 * 1024;
/// First window of a stream, as yamux has it.
pub(super) const FIRST_STREAM_WINDOW: u64 = 256 * 1024;

/// How much is drawn of each thing.
pub(super) struct Draw {
    pub(super) rng: StdRng,
}

impl Draw {
    fn chain(&mut self, heights: u64) -> Vec<Block> {
        let few: &[u64] = &[0, 1, 3, 6, 9];
        let many: &[u64] = &[0, 6, 20, 64];
        let counts = if self.rng.random_ratio(1, 8) { many } else { few };
        self.blocks(heights, counts)
    }

    /// Heights of so many blobs each, one number or another.
    pub(super) fn blocks(&mut self, heights: u64, counts: &[u64]) -> Vec<Block> {
        let mut block = || Block {
            blobs: counts.get(self.rng.random_range(0..counts.len())).copied().unwrap_or(0),
            payload_bytes: 1000 * self.rng.random_range(1..100),
        };
        (0..heights).map(|_| block()).collect()
    }

    pub(super) fn machine(&mut self) -> Machine {
        Machine {
            line: self.rng.random_range(2 * MIB..250 * MIB),
            first_window: Some(FIRST_STREAM_WINDOW),
            verify: Duration::from_micros(self.rng.random_range(100..2000)),
            commit: Duration::from_micros(self.rng.random_range(500..20_000)),
            disk: self.rng.random_range(50 * MIB..1000 * MIB),
            import: Duration::from_micros(self.rng.random_range(100..30_000)),
        }
    }

    fn config(&mut self) -> SchedulerConfig {
        let max_buffered_bytes = self.rng.random_range(16..512) * SIDECAR_BYTES;
        SchedulerConfig {
            max_buffered_bytes,
            max_request_bytes: self.rng.random_range(8..64) * SIDECAR_BYTES,
            hedge_bytes: max_buffered_bytes / 8,
            max_heights_ahead: self.rng.random_range(4..1000),
            max_loaded_heights: self.rng.random_range(4..1000),
            ..SchedulerConfig::default()
        }
    }

    /// A peer that means well, with what it can.
    fn honest(&mut self, index: usize) -> PeerPlan {
        let conduct = match self.rng.random_range(0..10) {
            0 => Conduct::Lossy { permille: self.rng.random_range(1..20) },
            1 => Conduct::RateLimited { per_second: self.rng.random_range(1..20) },
            2 => Conduct::Late,
            _ => Conduct::Honest,
        };
        self.peer(index, conduct)
    }

    /// The same on a server: it has bandwidth, and begins when it is asked.
    pub(super) fn server(&mut self, index: usize) -> PeerPlan {
        let peer = self.honest(index);
        let conduct = if peer.conduct == Conduct::Late { Conduct::Honest } else { peer.conduct };
        PeerPlan { conduct, rate: peer.rate.max(1_000_000), ..peer }
    }

    pub(super) fn liar(&mut self, index: usize) -> PeerPlan {
        let conduct = Conduct::LIARS.get(self.rng.random_range(0..Conduct::LIARS.len())).copied();
        self.peer(index, conduct.unwrap_or(Conduct::Silent))
    }

    fn peer(&mut self, index: usize, conduct: Conduct) -> PeerPlan {
        // From 100 KB/s to 100 MB/s, as many of each order of magnitude.
        let rate = 10_f64.powf(self.rng.random_range(5.0..8.0));
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "of the range above")]
        let rate = rate as u64;
        PeerPlan {
            index,
            conduct,
            latency: Duration::from_micros(self.rng.random_range(500..150_000)),
            rate,
            holds: Holds::All,
            presence: Presence::Always,
        }
    }

    pub(super) fn presence(&mut self) -> Presence {
        let mut seconds = |range| Duration::from_millis(self.rng.random_range(range));
        match seconds(0..4000).as_millis() / 1000 {
            0 => Presence::From(seconds(0..20_000)),
            1 => Presence::Churning { up: seconds(1000..30_000), down: seconds(500..20_000) },
            _ => Presence::Always,
        }
    }

    fn size(&mut self) -> usize {
        match self.rng.random_range(0..100) {
            0 => self.rng.random_range(200..=1000),
            1..10 => self.rng.random_range(30..200),
            _ => self.rng.random_range(1..30),
        }
    }
}

impl Plan {
    /// Any network in which somebody honest holds each item, and stays.
    pub fn random(seed: u64) -> Self {
        let mut draw = Draw { rng: StdRng::seed_from_u64(seed) };
        let heights = draw.rng.random_range(10..80);
        let chain = draw.chain(heights);
        let (config, machine) = (draw.config(), draw.machine());
        let size = draw.size();
        let mut peers: Vec<PeerPlan> = Vec::with_capacity(size);
        for index in 0..size {
            let mut peer = if draw.rng.random_ratio(1, 2) { draw.honest(index) } else { draw.liar(index) };
            peer.presence = draw.presence();
            if draw.rng.random_ratio(1, 4) {
                peer.holds = Holds::From(draw.rng.random_range(1..=heights));
            }
            peers.push(peer);
        }
        draw.anchor(&mut peers);
        peers.shuffle(&mut draw.rng);
        Self { seed, chain, config, machine, peers, growth: None }
    }

    /// Honest peers that hold everything and stay, on servers, and liars of all kinds that make up 40 % of the network.
    pub fn contest(seed: u64) -> Self {
        let mut draw = Draw { rng: StdRng::seed_from_u64(seed) };
        let counts: [u64; 3] = [6, 9, 20];
        let blobs = counts.get(draw.rng.random_range(0..counts.len())).copied().unwrap_or(6);
        let chain = vec![Block { blobs, payload_bytes: 50_000 }; 400];
        let honest = draw.rng.random_range(2..12) * 3;
        let liars = honest * 2 / 3;
        let mut peers: Vec<PeerPlan> = (0..honest).map(|index| draw.server(index)).collect();
        peers.extend((honest..honest + liars).map(|index| draw.liar(index)));
        let machine = Machine {
            line: draw.rng.random_range(10 * MIB..60 * MIB),
            // Else it is round trips that count, and who happens to be found first.
            first_window: None,
            verify: Duration::from_micros(500),
            commit: Duration::from_millis(4),
            disk: 400 * MIB,
            import: Duration::from_millis(1),
        };
        // Much less than the chain, so that the order matters.
        let config = SchedulerConfig { max_buffered_bytes: 24 * MIB, ..SchedulerConfig::default() };
        Self { seed, chain, config, machine, peers, growth: None }
    }

    /// The same without liars.
    pub fn without_liars(&self) -> Self {
        let mut plan = self.clone();
        plan.peers.retain(|peer| peer.conduct.is_honest());
        plan
    }

    /// The height that the chain has at the beginning.
    pub fn first_head(&self) -> Height {
        self.growth.as_ref().map_or(self.head(), |growth| growth.from)
    }

    /// The height of the chain in the end.
    pub fn head(&self) -> Height {
        self.chain.len() as Height
    }

    /// Bytes of all payloads and blobs.
    pub fn bytes(&self) -> u64 {
        let payload = |block: &Block| block.payload_bytes + PayloadEnvelope::FIXED_BYTES as u64;
        self.chain.iter().map(|block| payload(block) + block.blobs * SIDECAR_BYTES).sum()
    }

    /// What a height has; nothing where there is no such height.
    pub fn block(&self, height: Height) -> Block {
        let place = usize::try_from(height).ok().and_then(|height| height.checked_sub(1));
        place.and_then(|place| self.chain.get(place)).copied().unwrap_or(Block { blobs: 0, payload_bytes: 0 })
    }
}

impl Draw {
    /// Sees to it that each item has an honest holder: one of all, or several of parts that no two of them share.
    fn anchor(&mut self, peers: &mut Vec<PeerPlan>) {
        let parts = if self.rng.random_ratio(1, 3) { self.rng.random_range(2..5) } else { 1 };
        for part in 0..parts {
            let mut peer = self.peer(peers.len(), Conduct::Honest);
            if parts > 1 {
                peer.holds = Holds::Part { part, of: parts };
            }
            peers.push(peer);
        }
    }
}
