//! Simulated networks: the real scheduler in virtual time, among peers with latency, bandwidth, loss, churn and lies.
//!
//! Everything is drawn from a seed ([`Plan::random`]), and nothing else has a say: no clock, no thread, no socket. So a
//! network of a thousand peers runs in less time than it would take to connect to one, and one that goes wrong goes wrong
//! again. What must hold of every run is in [`check`]; `examples/simulate_sync.rs` runs as many seeds as one likes, and
//! tells one of them line by line.
//!
//! Scores and bans are those of `lapis-p2p`. The node's own side, verification, transactions and import, is modelled by
//! the time that it takes.

mod chain;
mod exchange;
mod four;
mod growth;
mod log;
mod machine;
mod outcome;
mod peer;
mod plan;
mod queue;
mod tip;
mod world;

use std::time::Duration;

pub use self::{
    chain::Values,
    four::{Fourth, MOST_LOSS_OF_FOUR, check_fourths},
    growth::{Growth, News},
    outcome::{Outcome, Tally, Violation, check, waste_bound},
    peer::{Conduct, Holds, PeerPlan, Presence},
    plan::{Block, Machine, Plan},
    tip::{Delay, TROUBLE},
};
use self::{log::Log, world::World};
use super::trace::TraceSink;

/// Requests that are no measure: so many may differ by chance.
const FEW: u64 = 20;
/// Virtual time after which a run is given up.
pub const LIMIT: Duration = Duration::from_secs(4 * 3600);
/// When so many percent of the bytes are stored the liars of a contest are known.
const WARM_UP: usize = 25;
/// How many times longer liars may make it take.
pub const MOST_LOSS: f64 = 1.2;
/// What a contest may take longer in any case: shorter differences are the ends of single answers.
const GRAIN: Duration = Duration::from_millis(500);

/// Runs `plan`.
pub fn run(plan: &Plan, values: &mut Values) -> Outcome {
    World::new(plan, values, &mut Log::new(false), None).run(LIMIT)
}

/// Runs `plan` and tells what happened, a line each.
pub fn tell(plan: &Plan, values: &mut Values) -> (Outcome, Vec<String>) {
    let mut log = Log::new(true);
    let outcome = World::new(plan, values, &mut log, None).run(LIMIT);
    (outcome, log.into_lines())
}

/// Runs `plan` and records a trace of the scheduler.
pub fn record(plan: &Plan, values: &mut Values, trace: Box<dyn TraceSink>) -> Outcome {
    World::new(plan, values, &mut Log::new(false), Some(trace)).run(LIMIT)
}

/// Runs the network of `seed` and checks it.
///
/// # Errors
/// The first [`Violation`].
pub fn check_seed(seed: u64, values: &mut Values) -> Result<Outcome, Violation> {
    let plan = Plan::random(seed);
    let outcome = run(&plan, values);
    check(&plan, &outcome)?;
    Ok(outcome)
}

/// Runs the network of `seed` whose chain grows, and checks it.
///
/// # Errors
/// The first [`Violation`].
pub fn check_tip(seed: u64, values: &mut Values) -> Result<Outcome, Violation> {
    let plan = Plan::growing(seed);
    let outcome = run(&plan, values);
    check(&plan, &outcome)?;
    Ok(outcome)
}

/// Runs the network of `seed` whose chain grows with each height announced once by everybody, and ten times, which must
/// cost no more than a quarter more requests. Gives the requests of both.
///
/// # Errors
/// The first [`Violation`].
pub fn check_repeated(seed: u64, values: &mut Values) -> Result<(u64, u64), Violation> {
    let plan = Plan::growing(seed);
    let mut requests = |announcements| {
        let plan = plan.announced_often(announcements);
        let outcome = run(&plan, values);
        check(&plan, &outcome).map(|()| outcome.tally.requests)
    };
    let (once, often) = (requests(1)?, requests(10)?);
    let bound = once + once / 4 + FEW;
    if often > bound {
        return Err(Violation::Requests { seed, requests: often, bound });
    }
    Ok((once, often))
}

/// Runs the network of `seed` twice: the same must happen.
///
/// # Errors
/// [`Violation::Differs`].
pub fn check_same(seed: u64, values: &mut Values) -> Result<(), Violation> {
    let plan = Plan::random(seed);
    let (first, second) = (run(&plan, values), run(&plan, values));
    if first.tally == second.tally && first.time == second.time { Ok(()) } else { Err(Violation::Differs { seed }) }
}

/// Runs a network of 40 % liars with and without them: once they are known, it must take no more than 1.2 times as long.
/// Gives how many times longer it took.
///
/// # Errors
/// The first [`Violation`].
pub fn check_contest(seed: u64, values: &mut Values) -> Result<f64, Violation> {
    let plan = Plan::contest(seed);
    let alone = plan.without_liars();
    let (with, without) = (run(&plan, values), run(&alone, values));
    check(&plan, &with)?;
    check(&alone, &without)?;
    let (with, without) = (known(&with), known(&without));
    let ratio = with.as_secs_f64() / without.as_secs_f64().max(f64::MIN_POSITIVE);
    if with > without.mul_f64(MOST_LOSS) + GRAIN {
        return Err(Violation::Liars { seed, with, without, ratio });
    }
    Ok(ratio)
}

/// From when the liars are known to the end.
fn known(outcome: &Outcome) -> Duration {
    outcome.time.saturating_sub(outcome.progress.get(WARM_UP).copied().unwrap_or_default())
}

#[cfg(test)]
mod tests;
