//! Chains that grow while the node follows: when heights are decided, and who learns of them when.

use std::time::Duration;

use lapis_protocol_spec::{Bytes32, Height};
use rand::{Rng, SeedableRng, rngs::StdRng, seq::SliceRandom};

use super::{
    machine::over,
    peer::{Conduct, Holds, PeerPlan},
    plan::{Draw, MIB, Machine, Plan},
};
use crate::sync::scheduler::{SIDECAR_BYTES, SchedulerConfig};

/// Blobs of a height, at most.
const MOST_BLOBS: u64 = 9;
/// Bytes per second that each peer sends at least.
const LEAST_RATE: u64 = 1_000_000;
/// Sets these networks apart from others of the same seeds.
const GROWING: u64 = 0x0067_726f_7769_6e67;

/// How a chain grows.
#[derive(Clone, Debug)]
pub struct Growth {
    /// Heights that are decided at the beginning.
    pub from: Height,
    /// When each further one is.
    pub decided: Vec<Duration>,
    /// Other validators sign after so many heights each; 0 if they are the same all the time.
    pub change_every: u64,
    /// How each peer learns of a height and tells of it, in the order of the peers.
    pub news: Vec<News>,
}

/// How a peer learns of a height and tells of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct News {
    /// How long after its decision a height is there, with its data if the peer holds that.
    pub after: Duration,
    /// It signs, and so knows who signs next when it knows a height. Others know who signed a height when they know it.
    pub is_validator: bool,
    /// Of a thousand announcements so many are lost.
    pub lost_permille: u32,
    /// How often it announces each height.
    pub announcements: u32,
}

impl Growth {
    /// Which set of validators signs `height`; they are numbered from 0.
    pub fn set_of(&self, height: Height) -> u64 {
        height.saturating_sub(1).checked_div(self.change_every).unwrap_or(0)
    }

    /// Heights with the moments at which they are decided, after those of the beginning.
    pub(super) fn heights(&self) -> impl Iterator<Item = (Height, Duration)> {
        (self.from + 1..).zip(self.decided.iter().copied())
    }

    /// Whether the peer at `place`, which has the heights up to `head`, knows the set with this root.
    pub(super) fn knows(&self, place: usize, head: Height, root: &Bytes32) -> bool {
        let signs = self.news.get(place).is_some_and(|news| news.is_validator);
        let last = self.set_of(head + u64::from(signs));
        (0..=last).any(|set| root_of(set) == *root)
    }
}

/// The root of a set: of no set, since nobody signs here.
pub(super) fn root_of(set: u64) -> Bytes32 {
    let mut root = [0; 32];
    root.iter_mut().zip(set.to_le_bytes()).for_each(|(byte, part)| *byte = part);
    Bytes32::from(root)
}

impl Draw {
    fn news(&mut self) -> News {
        let millis = if self.rng.random_ratio(1, 4) { 0..5000 } else { 0..300 };
        News {
            after: Duration::from_millis(self.rng.random_range(millis)),
            is_validator: self.rng.random_ratio(1, 2),
            lost_permille: if self.rng.random_ratio(1, 3) { self.rng.random_range(0..=1000) } else { 0 },
            announcements: self.rng.random_range(1..4),
        }
    }

    /// When heights are decided: at an interval that varies by half of it, and of which a peer of this rate needs no more
    /// than a third to send what a height has.
    fn decided(&mut self, heights: u64, rate: u64) -> Vec<Duration> {
        let transfer = over(MOST_BLOBS * SIDECAR_BYTES, rate).as_millis();
        let least = u64::try_from(transfer).unwrap_or(u64::MAX).saturating_mul(6).max(100);
        let interval = self.rng.random_range(least..least.saturating_add(3000));
        let mut at = Duration::ZERO;
        let mut next = || {
            at += Duration::from_millis(self.rng.random_range(interval / 2..interval * 3 / 2));
            at
        };
        (0..heights).map(|_| next()).collect()
    }

    /// Somebody who may come and go, and hold what they like.
    fn anybody(&mut self, index: usize, heights: u64) -> PeerPlan {
        let mut peer = if self.rng.random_ratio(1, 2) { self.server(index) } else { self.liar(index) };
        // Who is slow is asked as well while nobody else has told of a height, and is no liar for that.
        peer.rate = peer.rate.max(LEAST_RATE);
        peer.presence = self.presence();
        match self.rng.random_range(0..8) {
            0 => peer.holds = Holds::From(self.rng.random_range(1..=heights)),
            1 => peer.holds = Holds::Part { part: 0, of: 2 },
            _ => {}
        }
        peer
    }
}

impl Plan {
    /// A network whose chain grows, in which somebody honest who stays has each height, signs, and announces it.
    pub fn growing(seed: u64) -> Self {
        let mut draw = Draw { rng: StdRng::seed_from_u64(seed ^ GROWING) };
        let (from, more) = (draw.rng.random_range(0..20), draw.rng.random_range(10..30));
        let chain = draw.blocks(from + more, &[0, 1, 3, 6, MOST_BLOBS]);
        let machine = Machine { line: draw.rng.random_range(10 * MIB..100 * MIB), ..draw.machine() };
        let size = draw.rng.random_range(0..16);
        let mut peers: Vec<PeerPlan> = (0..size).map(|index| draw.anybody(index, from + more)).collect();
        let anchor = draw.server(size);
        peers.push(PeerPlan { conduct: Conduct::Honest, ..anchor });
        peers.shuffle(&mut draw.rng);
        let mut news: Vec<News> = peers.iter().map(|_| draw.news()).collect();
        for (news, _) in news.iter_mut().zip(&peers).filter(|(_, peer)| peer.index == size) {
            *news = News { after: news.after.min(Duration::from_millis(300)), is_validator: true, ..*news };
        }
        let change_every = if draw.rng.random_ratio(1, 2) { draw.rng.random_range(1..8) } else { 0 };
        let growth = Growth { from, decided: draw.decided(more, anchor.rate), change_every, news };
        Self { seed, chain, config: SchedulerConfig::default(), machine, peers, growth: Some(growth) }
    }

    /// The same with everything announced so many times, and nothing lost of it: what is lost once gets through if it is
    /// said ten times, and that would be more news, not the same again.
    #[must_use]
    pub fn announced_often(&self, announcements: u32) -> Self {
        let mut plan = self.clone();
        for news in plan.growth.iter_mut().flat_map(|growth| &mut growth.news) {
            (news.announcements, news.lost_permille) = (announcements, 0);
        }
        plan
    }
}
