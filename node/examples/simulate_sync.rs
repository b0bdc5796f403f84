//! Runs the sync scheduler through simulated networks, one per seed, and checks what must hold of each.
//!
//! ```text
//! cargo run --release -p lapis-node --example simulate_sync -- --seeds 10000
//! cargo run --release -p lapis-node --example simulate_sync -- --seed 17 --trace
//! cargo run --release -p lapis-node --example simulate_sync -- --seed 17 --contest --trace
//! cargo run --release -p lapis-node --example simulate_sync -- --seed 17 --tip --trace
//! ```

use std::{
    process::ExitCode,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use clap::Parser;
use lapis_node::sync::simulation::{
    Fourth, Outcome, Plan, Values, Violation, check, check_contest, check_fourths, check_repeated, check_same,
    check_seed, check_tip, tell, waste_bound,
};

/// Every so many seeds one is run as a contest with and without liars, and as four peers with and without a bad one; and
/// one twice and with many announcements.
const CONTESTS: u64 = 10;
const REPETITIONS: u64 = 50;
/// Heights that four peers hold.
const FOUR_HEIGHTS: usize = 400;
/// Violations that are shown.
const SHOWN: usize = 20;

/// Runs simulated networks.
#[derive(Debug, Parser)]
struct Arguments {
    /// How many seeds
    #[arg(long, default_value_t = 1000)]
    seeds: u64,
    /// The first one
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// This one alone
    #[arg(long)]
    seed: Option<u64>,
    /// Tell it line by line
    #[arg(long, requires = "seed")]
    trace: bool,
    /// Its network of honest peers and 40 % liars
    #[arg(long, requires = "seed")]
    contest: bool,
    /// The honest peers of that network alone
    #[arg(long, requires = "contest")]
    without_liars: bool,
    /// Of each seed its network of honest peers and 40 % liars, and no other
    #[arg(long, conflicts_with = "seed")]
    contests: bool,
    /// Its network whose chain grows
    #[arg(long, requires = "seed", conflicts_with = "contest")]
    tip: bool,
    /// Each height announced so often by everybody, and heard each time
    #[arg(long, requires = "tip")]
    announcements: Option<u32>,
}

/// What came of many seeds.
#[derive(Debug, Default)]
struct Figures {
    runs: u64,
    events: u64,
    requests: u64,
    stored: u64,
    wasted: u64,
    hedges: u64,
    hedges_won: u64,
    virtual_time: Duration,
    ratios: Vec<f64>,
    /// Of heights that were decided meanwhile, in seconds: all, and those where nothing went wrong; and over the bound.
    delays: Vec<f64>,
    clean_delays: Vec<f64>,
    shares: Vec<f64>,
    fourths: Vec<f64>,
    /// Wasted bytes over what may be.
    waste: f64,
    peers: u64,
    most_peers: usize,
    violations: Vec<Violation>,
}

impl Figures {
    fn take(&mut self, plan: &Plan, outcome: &Outcome) {
        self.runs += 1;
        self.events += outcome.tally.events;
        self.requests += outcome.tally.requests;
        self.stored += outcome.tally.stored_bytes;
        self.wasted += outcome.tally.wasted_bytes();
        self.hedges += outcome.stats.hedges;
        self.hedges_won += outcome.stats.hedges_won;
        self.virtual_time += outcome.time;
        self.waste = self.waste.max(outcome.tally.wasted_bytes() as f64 / waste_bound(plan, outcome).max(1) as f64);
        self.peers += plan.peers.len() as u64;
        self.most_peers = self.most_peers.max(plan.peers.len());
    }

    fn take_tip(&mut self, outcome: &Outcome) {
        for delay in &outcome.delays {
            let took = delay.took.as_secs_f64();
            self.delays.push(took);
            self.shares.push(took / delay.bound.as_secs_f64());
            if delay.troubles == 0 {
                self.clean_delays.push(took);
            }
        }
    }

    fn add(&mut self, other: Self) {
        self.runs += other.runs;
        self.events += other.events;
        self.requests += other.requests;
        self.stored += other.stored;
        self.wasted += other.wasted;
        self.hedges += other.hedges;
        self.hedges_won += other.hedges_won;
        self.virtual_time += other.virtual_time;
        self.ratios.extend(other.ratios);
        self.delays.extend(other.delays);
        self.clean_delays.extend(other.clean_delays);
        self.shares.extend(other.shares);
        self.fourths.extend(other.fourths);
        self.waste = self.waste.max(other.waste);
        self.peers += other.peers;
        self.most_peers = self.most_peers.max(other.most_peers);
        self.violations.extend(other.violations);
    }

    fn contest(&mut self, seed: u64, values: &mut Values) {
        match check_contest(seed, values) {
            Ok(ratio) => self.ratios.push(ratio),
            Err(violation) => self.violations.push(violation),
        }
    }

    fn seed(&mut self, seed: u64, values: &mut Values) {
        match check_seed(seed, values) {
            Ok(outcome) => self.take(&Plan::random(seed), &outcome),
            Err(violation) => self.violations.push(violation),
        }
        match check_tip(seed, values) {
            Ok(outcome) => self.take_tip(&outcome),
            Err(violation) => self.violations.push(violation),
        }
        if seed.is_multiple_of(CONTESTS) {
            self.contest(seed, values);
            match check_fourths(seed, FOUR_HEIGHTS, fourth(seed), values) {
                Ok(ratio) => self.fourths.push(ratio),
                Err(violation) => self.violations.push(violation),
            }
        }
        if seed.is_multiple_of(REPETITIONS) {
            self.violations.extend(check_same(seed, values).err());
            self.violations.extend(check_repeated(seed, values).err());
        }
    }

    fn show(&mut self, took: Duration) {
        const MIB: f64 = 1024.0 * 1024.0;
        let runs = self.runs.max(1) as f64;
        println!("networks              {} in {:.1} s", self.runs, took.as_secs_f64());
        println!("peers                 {:.1} on average, {} at most", self.peers as f64 / runs, self.most_peers);
        println!("events, requests      {}, {}", self.events, self.requests);
        println!("virtual time          {:.1} h", self.virtual_time.as_secs_f64() / 3600.0);
        println!("stored                {:.0} MiB", self.stored as f64 / MIB);
        let share = 100.0 * self.wasted as f64 / self.stored.max(1) as f64;
        println!("wasted                {:.0} MiB, {share:.2} % of that", self.wasted as f64 / MIB);
        println!("worst waste           {:.2} of what may be", self.waste);
        println!("hedges, won           {}, {}", self.hedges, self.hedges_won);
        println!("time with 40 % liars  {}", spread(&mut self.ratios));
        println!("with a bad one of four {}", spread(&mut self.fourths));
        println!("tip: seconds          {}", spread(&mut self.delays));
        println!("tip: nothing wrong    {}", spread(&mut self.clean_delays));
        println!("tip: share of bound   {}", spread(&mut self.shares));
        println!("violations            {}", self.violations.len());
        for violation in self.violations.iter().take(SHOWN) {
            println!("  {violation}");
        }
    }
}

/// The sort of bad peer that is this seed's turn.
fn fourth(seed: u64) -> &'static [Fourth] {
    let turn = usize::try_from(seed / CONTESTS).unwrap_or(0) % Fourth::ALL.len();
    Fourth::ALL.get(turn..=turn).unwrap_or_default()
}

/// The middle, the tail and the end of `samples`.
fn spread(samples: &mut [f64]) -> String {
    samples.sort_by(f64::total_cmp);
    let at = |percent: usize| {
        let place = (samples.len() * percent / 100).min(samples.len().saturating_sub(1));
        samples.get(place).copied().unwrap_or(0.0)
    };
    format!("{:.3} median, {:.3} p99, {:.3} worst of {}", at(50), at(99), at(100), samples.len())
}

fn many(arguments: &Arguments) -> ExitCode {
    let started = Instant::now();
    let next = AtomicU64::new(arguments.from);
    let end = arguments.from.saturating_add(arguments.seeds);
    let work = || {
        let (mut figures, mut values) = (Figures::default(), Values::default());
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= end {
                return figures;
            }
            if arguments.contests {
                figures.contest(seed, &mut values);
            } else {
                figures.seed(seed, &mut values);
            }
        }
    };
    let threads = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let mut figures = Figures::default();
    let is_whole = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let ended = workers.into_iter().map(thread::ScopedJoinHandle::join);
        ended.map(|part| part.map(|part| figures.add(part))).filter(Result::is_err).count() == 0
    });
    figures.show(started.elapsed());
    if is_whole && figures.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn one(seed: u64, arguments: &Arguments) -> ExitCode {
    let plan = match (arguments.contest, arguments.tip) {
        (true, _) if arguments.without_liars => Plan::contest(seed).without_liars(),
        (true, _) => Plan::contest(seed),
        (false, true) => Plan::growing(seed),
        (false, false) => Plan::random(seed),
    };
    let plan = arguments.announcements.map_or(plan.clone(), |often| plan.announced_often(often));
    let (outcome, lines) = tell(&plan, &mut Values::default());
    if arguments.trace {
        println!("{:?}\n{:?}", plan.config, plan.machine);
        lines.iter().for_each(|line| println!("{line}"));
    }
    println!("{:?}\n{:?}", outcome.stats, outcome.tally);
    println!("{} heights of {} peers after {:?}", outcome.reached, plan.peers.len(), outcome.time);
    let checked = check(&plan, &outcome);
    let contest = if arguments.contest { check_contest(seed, &mut Values::default()).map(|_| ()) } else { Ok(()) };
    match checked.and(contest) {
        Ok(()) => ExitCode::SUCCESS,
        Err(violation) => {
            println!("{violation}");
            ExitCode::FAILURE
        }
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match arguments.seed {
        Some(seed) => one(seed, &arguments),
        None => many(&arguments),
    }
}
