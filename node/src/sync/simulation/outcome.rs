//! How a run went, and what must hold of it.

use std::time::Duration;

use lapis_protocol_spec::Height;

use super::{four::Fourth, plan::Plan, tip::Delay};
use crate::sync::scheduler::{Blocked, SIDECAR_BYTES, Stats};

/// Bytes that a peer that sends garbage may send before it is found out: what it is asked for at a time, of what it
/// could send at most while its first item is verified.
const FOUND_OUT_AFTER: u64 = 2 * 1024 * 1024;

/// What was counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Events.
    pub events: u64,
    /// Exchanges.
    pub requests: u64,
    /// Bytes that came.
    pub received_bytes: u64,
    /// Those of them that are in the store.
    pub stored_bytes: u64,
    /// Those that came a second time.
    pub duplicate_bytes: u64,
    /// Those that failed verification.
    pub faulty_bytes: u64,
    /// Those of answers that had been given up by then.
    pub cut_bytes: u64,
    /// Most bytes that were asked for, or received and not stored.
    pub peak_buffered: u64,
    /// Peers that were banned.
    pub banned: u64,
    /// Those of them that mean well.
    pub honest_banned: Vec<usize>,
    /// The same for the same run.
    pub hash: u64,
}

impl Tally {
    /// Bytes that came and were thrown away.
    pub fn wasted_bytes(&self) -> u64 {
        self.duplicate_bytes + self.faulty_bytes + self.cut_bytes
    }
}

/// How a run went.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Of the plan.
    pub seed: u64,
    /// Everything was imported.
    pub finished: bool,
    /// When it ended.
    pub time: Duration,
    /// When so many percent of all bytes were stored, from 0 to 100.
    pub progress: Vec<Duration>,
    /// Heights that were imported.
    pub reached: Height,
    /// What the scheduler said it was waiting for at the end.
    pub blocked: Option<Blocked>,
    /// What the scheduler counted.
    pub stats: Stats,
    /// What the simulation counted.
    pub tally: Tally,
    /// How long the heights took that were decided meanwhile.
    pub delays: Vec<Delay>,
}

/// Something that must not be, with the seed of the plan in which it was.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Violation {
    /// Each item has an honest holder, and yet the node does not get on.
    #[error("seed {seed}: not finished after {time:?}: {reached} of {head} heights, {blocked:?}")]
    NotFinished {
        /// Of the plan.
        seed: u64,
        /// When it was given up.
        time: Duration,
        /// Heights that were imported.
        reached: Height,
        /// Heights that there are.
        head: u64,
        /// What the scheduler said it was waiting for.
        blocked: Option<Blocked>,
    },
    /// An honest peer was banned.
    #[error("seed {seed}: the honest peers {peers:?} were banned")]
    HonestBanned {
        /// Of the plan.
        seed: u64,
        /// Their places.
        peers: Vec<usize>,
    },
    /// More memory was used than is allowed.
    #[error("seed {seed}: {peak} bytes were buffered, {cap} are allowed")]
    Memory {
        /// Of the plan.
        seed: u64,
        /// Most bytes.
        peak: u64,
        /// Bytes allowed.
        cap: u64,
    },
    /// More bytes were thrown away than may be.
    #[error("seed {seed}: {wasted} bytes were wasted, {bound} may be: {tally:?}")]
    Waste {
        /// Of the plan.
        seed: u64,
        /// Bytes thrown away.
        wasted: u64,
        /// Bytes that may be.
        bound: u64,
        /// Of what sort.
        tally: Box<Tally>,
    },
    /// A height that was decided meanwhile was complete too late.
    #[error("seed {seed}: {delay:?}")]
    Late {
        /// Of the plan.
        seed: u64,
        /// Which, and how late.
        delay: Delay,
    },
    /// More was asked than may be, for what came.
    #[error("seed {seed}: {requests} requests, {bound} may be")]
    Requests {
        /// Of the plan.
        seed: u64,
        /// Exchanges.
        requests: u64,
        /// How many may be.
        bound: u64,
    },
    /// Two runs of one plan were different.
    #[error("seed {seed}: two runs differ")]
    Differs {
        /// Of the plan.
        seed: u64,
    },
    /// Liars cost more time than they may.
    #[error("seed {seed}: {with:?} with liars, {without:?} without, which is {ratio:.2} times as long")]
    Liars {
        /// Of the plan.
        seed: u64,
        /// Time with them.
        with: Duration,
        /// Time without.
        without: Duration,
        /// The one over the other.
        ratio: f64,
    },
    /// One bad peer of four cost more time than it may.
    #[error(
        "seed {seed}: {with:?} with {fourth:?} as the fourth, {without:?} without, which is {ratio:.2} times as long"
    )]
    Fourth {
        /// Of the plan.
        seed: u64,
        /// The bad one.
        fourth: Fourth,
        /// Time with it.
        with: Duration,
        /// Time without.
        without: Duration,
        /// The one over the other.
        ratio: f64,
    },
}

/// Bytes that may be thrown away at most. Of what comes twice, or is given up: what hedges may waste, and an item per
/// honest exchange that breaks. Of garbage: what its senders may send before they are found out. Answers that are
/// given up leave on the way what the line holds.
pub fn waste_bound(plan: &Plan, outcome: &Outcome) -> u64 {
    let count = |of: fn(&super::peer::PeerPlan) -> bool| plan.peers.iter().filter(|peer| of(peer)).count() as u64;
    let garbage = count(|peer| peer.conduct.sends_garbage()) * FOUND_OUT_AFTER.min(plan.config.max_buffered_bytes);
    let hedges = plan.config.hedge_bytes + outcome.tally.stored_bytes / 16;
    hedges + garbage + plan.peers.len() as u64 * SIDECAR_BYTES
}

/// Holds a run against what must hold of every run.
///
/// # Errors
/// The first [`Violation`].
pub fn check(plan: &Plan, outcome: &Outcome) -> Result<(), Violation> {
    let seed = plan.seed;
    let Outcome { finished, time, reached, tally, .. } = outcome;
    if !finished {
        let (head, blocked) = (plan.head(), outcome.blocked.clone());
        return Err(Violation::NotFinished { seed, time: *time, reached: *reached, head, blocked });
    }
    if !tally.honest_banned.is_empty() {
        return Err(Violation::HonestBanned { seed, peers: tally.honest_banned.clone() });
    }
    let (peak, cap) = (tally.peak_buffered, plan.config.max_buffered_bytes);
    if peak > cap {
        return Err(Violation::Memory { seed, peak, cap });
    }
    let (wasted, bound) = (tally.wasted_bytes(), waste_bound(plan, outcome));
    if wasted > bound {
        return Err(Violation::Waste { seed, wasted, bound, tally: Box::new(tally.clone()) });
    }
    match outcome.delays.iter().find(|delay| delay.took > delay.bound) {
        Some(delay) => Err(Violation::Late { seed, delay: *delay }),
        None => Ok(()),
    }
}
