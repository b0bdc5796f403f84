//! Four equal peers, and the same with one of them exchanged for a bad one: what a single bad peer costs from the very
//! beginning, when nothing is known of anybody.
//!
//! What bounds these networks is the node's own verification, and three good peers are enough for it. So a bad one takes
//! nothing from the node but what it is asked for; what that costs is the scheduler's doing.

use std::time::Duration;

use rand::{Rng, SeedableRng, rngs::StdRng};

use super::{
    Outcome, Values, Violation, check,
    peer::{Conduct, Holds, PeerPlan, Presence},
    plan::{Block, FIRST_STREAM_WINDOW, Machine, Plan},
    run,
};
use crate::sync::scheduler::SchedulerConfig;

/// How many times longer one bad peer of four may make it take.
pub const MOST_LOSS_OF_FOUR: f64 = 1.15;
/// What it may take longer in any case: the last that the bad one holds is asked for again only when it is late.
const GRAIN: Duration = Duration::from_millis(100);

const MIB: u64 = 1024 * 1024;

/// What is bad about a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fourth {
    /// How it behaves.
    pub conduct: Conduct,
    /// How many times slower than the others it sends.
    pub slower: u64,
}

impl Fourth {
    /// Slow ones, dead ones and liars.
    pub const ALL: [Self; 9] = [
        Self::slow(10),
        Self::slow(400),
        Self::that_is(Conduct::Silent),
        Self::that_is(Conduct::Hanging),
        Self::that_is(Conduct::Drip),
        Self::that_is(Conduct::WrongData),
        Self::that_is(Conduct::WrongValues),
        Self::that_is(Conduct::Empty),
        Self::that_is(Conduct::Half),
    ];

    const fn slow(slower: u64) -> Self {
        Self { conduct: Conduct::Honest, slower }
    }

    const fn that_is(conduct: Conduct) -> Self {
        Self { conduct, slower: 1 }
    }
}

/// A network of four equal peers that hold `heights` heights, and enough for the node's machine if there are three.
pub(super) fn plan(seed: u64, heights: usize) -> Plan {
    let mut rng = StdRng::seed_from_u64(seed);
    let latency = Duration::from_millis(rng.random_range(2..30));
    let rate = rng.random_range(60..200) * MIB;
    let peer = |index| PeerPlan {
        index,
        conduct: Conduct::Honest,
        latency,
        rate,
        holds: Holds::All,
        presence: Presence::Always,
    };
    let machine = Machine {
        line: 250 * MIB,
        first_window: Some(FIRST_STREAM_WINDOW),
        verify: Duration::from_micros(rng.random_range(1500..2500)),
        commit: Duration::from_millis(rng.random_range(2..20)),
        disk: 400 * MIB,
        import: Duration::from_millis(1),
    };
    let chain = vec![Block { blobs: 6, payload_bytes: 2000 }; heights];
    Plan { seed, chain, config: SchedulerConfig::default(), machine, peers: (0..4).map(peer).collect(), growth: None }
}

/// The same with this one in place of the last.
fn exchanged(plan: &Plan, fourth: Fourth) -> Plan {
    let mut plan = plan.clone();
    if let Some(peer) = plan.peers.last_mut() {
        peer.conduct = fourth.conduct;
        peer.rate /= fourth.slower.max(1);
    }
    plan
}

/// Runs a network of four equal peers with all of them good, and with each of `fourths` in place of one. Gives how many
/// times longer the worst of them made it take.
///
/// # Errors
/// The first [`Violation`].
pub fn check_fourths(seed: u64, heights: usize, fourths: &[Fourth], values: &mut Values) -> Result<f64, Violation> {
    let good = plan(seed, heights);
    let without = finished(&good, values)?.time;
    let mut worst: f64 = 1.0;
    for fourth in fourths {
        let with = finished(&exchanged(&good, *fourth), values)?.time;
        let ratio = with.as_secs_f64() / without.as_secs_f64().max(f64::MIN_POSITIVE);
        if with > without.mul_f64(MOST_LOSS_OF_FOUR) + GRAIN {
            return Err(Violation::Fourth { seed, fourth: *fourth, with, without, ratio });
        }
        worst = worst.max(ratio);
    }
    Ok(worst)
}

fn finished(plan: &Plan, values: &mut Values) -> Result<Outcome, Violation> {
    let outcome = run(plan, values);
    check(plan, &outcome)?;
    Ok(outcome)
}
