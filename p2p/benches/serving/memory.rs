//! Resident memory of a server and its hundred clients, each figure in a process of its own that measures nothing else.

use std::{process::Command, time::Duration};

use serde_json::{Value, json};

use crate::{
    Extent,
    bare::Bare,
    lapis::Lapis,
    pool::Pool,
    runtime,
    throughput::{through_bare, through_lapis},
    wire::Wire,
};

/// Makes this program measure memory: followed by who serves, and the transport.
pub(crate) const ARGUMENT: &str = "--memory";

const PEERS: usize = 100;

const EXTENT: Extent =
    Extent { warm_up: Duration::from_millis(100), window: Duration::from_millis(900), ..Extent::QUICK };

/// KiB of the whole process: server, clients, and the sidecars that were there before.
pub(crate) struct Memory {
    pub(crate) wire: Wire,
    pub(crate) who: &'static str,
    /// Peak before anything was connected.
    pub(crate) before: u64,
    /// Peak until all were connected.
    pub(crate) connected: u64,
    /// Peak until all had been served for a second.
    pub(crate) served: u64,
}

pub(crate) fn measure() -> Vec<Memory> {
    Wire::BOTH.into_iter().flat_map(|wire| ["lapis", "bare"].map(|who| in_own_process(wire, who))).collect()
}

fn in_own_process(wire: Wire, who: &'static str) -> Memory {
    let program = std::env::current_exe().unwrap();
    let output = Command::new(program).args([ARGUMENT, who, wire.name()]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let figures: Value = serde_json::from_slice(&output.stdout).unwrap();
    let figure = |name: &str| figures[name].as_u64().unwrap();
    Memory { wire, who, before: figure("before"), connected: figure("connected"), served: figure("served") }
}

/// Prints what [`in_own_process`] reads.
pub(crate) fn measure_in_this_process(arguments: &[String]) {
    let [who, wire] = arguments else { panic!("who serves, and the transport") };
    let (wire, pool) = (Wire::from_name(wire), Pool::new());
    let figures = runtime().block_on(async {
        if who == "lapis" {
            let before = peak_kib();
            let lapis = Lapis::start(wire, &pool, PEERS).await;
            let connected = peak_kib();
            through_lapis(&lapis, 1, EXTENT).await;
            json!({ "before": before, "connected": connected, "served": peak_kib() })
        } else {
            // Its framed chunks take as much as the pool.
            let framed = pool.chunks();
            let before = peak_kib();
            drop(framed);
            let bare = Bare::start(wire, &pool, PEERS).await;
            let connected = peak_kib();
            through_bare(&bare, 1, EXTENT).await;
            json!({ "before": before, "connected": connected, "served": peak_kib() })
        }
    });
    println!("{figures}");
}

/// The most that this process has had resident.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}
