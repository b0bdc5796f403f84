//! Kills the real program in the middle of a sync, with SIGKILL at random moments, as often as one likes.
//!
//! ```text
//! cargo run -p lapis-tests --bin kill_cycles -- --cycles 100 --seed 1
//! ```
//!
//! After each kill `lapis verify` must find the store whole, and no watermark may be below what the program had said.
//! When it has caught up, everything must be there, and a new directory begins. Ends with a panic at the first fault.

use std::{sync::Arc, time::Instant};

use clap::Parser;
use lapis_tests::{
    TestChain,
    kills::{Kill, Killed, Life},
};
use rand::{Rng, SeedableRng, rngs::StdRng};

/// Kills the program in the middle of a sync, again and again.
#[derive(Clone, Copy, Debug, Parser)]
struct Arguments {
    /// Kills.
    #[arg(long, default_value_t = 100)]
    cycles: usize,
    /// Where the random moments begin.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn moment(random: &mut StdRng) -> Kill {
    match random.random_range(0..4) {
        0 => Kill::Sent(random.random_range(1..100)),
        1 => Kill::Stored(random.random_range(1..5)),
        _ => Kill::Written(random.random_range(1..12)),
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let Arguments { cycles, seed } = Arguments::parse();
    let start = Instant::now();
    let mut random = StdRng::seed_from_u64(seed);
    let chain = Arc::new(TestChain::of_four([6, 0, 9, 1, 12].into_iter().cycle().take(100)));
    let mut kills: Vec<Killed> = Vec::new();
    let mut lives = 0;
    while kills.len() < cycles {
        let mut life = Life::begin(&chain).await;
        while !life.is_done() && kills.len() + life.kills().len() < cycles {
            life.run_and_kill(moment(&mut random)).await;
            if let Some(killed) = life.kills().last() {
                let (number, held) = (kills.len() + life.kills().len(), killed.held.len());
                println!("{number}: {:?}, {held} blobs held, {} on their way", killed.kill, killed.lost);
            }
        }
        kills.extend(life.finish().await);
        lives += 1;
    }
    let in_writing = kills.iter().filter(|killed| killed.in_writing).count();
    let lost = kills.iter().filter(|killed| killed.lost > 0).count();
    let answered = kills.iter().filter(|killed| killed.had_answered).count();
    println!(
        "seed {seed}: {} kills in {lives} directories, {in_writing} right after a write to the store was seen, {lost} with \
         blobs on their way into it, {answered} after it had answered over HTTP; all whole, in {:.0?}",
        kills.len(),
        start.elapsed()
    );
}
