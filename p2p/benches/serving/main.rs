//! What serving costs: throughput of `blobs_by_range` beside a bare libp2p stream, time to the first chunk, memory at a
//! hundred peers, and the cost of framing and limiter per chunk.
//!
//! Server and clients are in this process, on two worker threads, so a figure holds both sides of the wire; only memory is
//! that of a server alone. Every limit that could throttle is raised; the limiter itself is at work. `--json` prints one
//! object instead of the table, `--quick` measures for a shorter time.
//!
//! `README.md` beside this has a table of what came out.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod bare;
mod chunks;
mod lapis;
mod latency;
mod memory;
mod pool;
mod report;
mod throughput;
mod wire;

use std::time::Duration;

use tokio::runtime::Runtime;

use wire::Wire;

/// How long everything is measured.
#[derive(Clone, Copy, Debug)]
struct Extent {
    /// Measurements of which the median is told.
    runs: usize,
    /// One measurement of throughput.
    window: Duration,
    /// What is not counted before each.
    warm_up: Duration,
    /// Requests for one blob.
    requests: usize,
    /// Chunks that are encoded and decoded.
    chunks: usize,
}

impl Extent {
    const FULL: Self = Self {
        runs: 5,
        window: Duration::from_millis(800),
        warm_up: Duration::from_millis(200),
        requests: 4000,
        chunks: 20_000,
    };
    const QUICK: Self = Self {
        runs: 3,
        window: Duration::from_millis(150),
        warm_up: Duration::from_millis(100),
        requests: 300,
        chunks: 2000,
    };
}

/// Server and clients of one measurement.
fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.split_first() {
        Some((role, rest)) if role == memory::SERVER => return memory::be_server(rest),
        Some((role, rest)) if role == memory::CLIENTS => return memory::be_clients(rest),
        _ => {}
    }
    let given = |name: &str| arguments.iter().any(|argument| argument == name);
    let extent = if given("--quick") { Extent::QUICK } else { Extent::FULL };
    // First, while nothing of this process competes with those that it starts.
    let memory = memory::measure();
    let report = report::Report {
        memory,
        throughput: Wire::BOTH.into_iter().flat_map(|wire| throughput::measure(wire, extent)).collect(),
        latency: Wire::BOTH.into_iter().map(|wire| latency::measure(wire, extent)).collect(),
        chunks: chunks::measure(extent),
    };
    if given("--json") {
        println!("{:#}", report.to_json());
    } else {
        print!("{report}");
    }
}
