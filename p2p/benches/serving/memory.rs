//! Resident memory of a server with a hundred peers, in a process of its own that does nothing else; its clients are in
//! another one.

use std::{
    io::{BufRead, BufReader, Read, Write},
    process::{Child, Command, Stdio},
    time::Duration,
};

use libp2p::Multiaddr;
use serde_json::{Value, json};

use crate::{
    Extent, bare,
    lapis::Node,
    pool::Pool,
    runtime,
    throughput::{BareClients, LapisClients},
    wire::Wire,
};

/// Makes this program a server whose memory is measured: followed by `lapis` or `bare`, and the transport.
pub(crate) const SERVER: &str = "--memory-of-server";

/// Makes this program its clients: followed by `lapis` or `bare`, and the server's address.
pub(crate) const CLIENTS: &str = "--memory-clients";

const PEERS: usize = 100;

const EXTENT: Extent =
    Extent { warm_up: Duration::from_millis(100), window: Duration::from_millis(900), ..Extent::QUICK };

/// KiB of a server's process, with what it serves.
pub(crate) struct Memory {
    pub(crate) wire: Wire,
    pub(crate) who: &'static str,
    /// Peak before anybody was connected.
    pub(crate) before: u64,
    /// Peak until all were.
    pub(crate) connected: u64,
    /// Peak until all had been served for a second.
    pub(crate) served: u64,
}

pub(crate) fn measure() -> Vec<Memory> {
    Wire::BOTH.into_iter().flat_map(|wire| ["lapis", "bare"].map(|who| of_server(wire, who))).collect()
}

fn of_server(wire: Wire, who: &'static str) -> Memory {
    let mut server = start(&[SERVER, who, wire.name()]);
    let mut output = String::new();
    server.stdout.take().unwrap().read_to_string(&mut output).unwrap();
    assert!(server.wait().unwrap().success());
    let figures: Value = serde_json::from_str(&output).unwrap();
    let figure = |name: &str| figures[name].as_u64().unwrap();
    Memory { wire, who, before: figure("before"), connected: figure("connected"), served: figure("served") }
}

/// This program again, with pipes.
fn start(arguments: &[&str]) -> Child {
    let program = std::env::current_exe().unwrap();
    Command::new(program).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
}

/// Serves its clients and prints what [`of_server`] reads.
pub(crate) fn be_server(arguments: &[String]) {
    let [who, wire] = arguments else { panic!("who serves, and the transport") };
    let (wire, pool, runtime) = (Wire::from_name(wire), Pool::new(), runtime());
    let (address, _node) = runtime.block_on(async {
        if who == "lapis" {
            let node = Node::server(wire, &pool).await;
            (node.address(), Some(node))
        } else {
            (bare::serve(wire, pool.chunks()).await, None)
        }
    });
    let before = peak_kib();
    let mut clients = start(&[CLIENTS, who, &address.to_string()]);
    let mut lines = BufReader::new(clients.stdout.take().unwrap()).lines();
    let mut next_step = || assert!(lines.next().unwrap().unwrap().starts_with("all"));
    next_step();
    let connected = peak_kib();
    clients.stdin.take().unwrap().write_all(b"read\n").unwrap();
    next_step();
    println!("{}", json!({ "before": before, "connected": connected, "served": peak_kib() }));
    clients.wait().unwrap();
}

/// Connects, tells so, waits for a line, reads for a second, and tells so.
pub(crate) fn be_clients(arguments: &[String]) {
    let [who, address] = arguments else { panic!("who serves, and where") };
    let address: Multiaddr = address.parse().unwrap();
    let lapis = who == "lapis";
    let until_asked = || {
        println!("all connected");
        std::io::stdin().read_line(&mut String::new()).unwrap();
    };
    runtime().block_on(async {
        if lapis {
            let clients = LapisClients::connect(&address, &Pool::new(), PEERS).await;
            until_asked();
            clients.rate(1, EXTENT).await;
        } else {
            let clients = BareClients::connect(&address, PEERS).await;
            until_asked();
            clients.rate(1, EXTENT).await;
        }
    });
    println!("all served");
}

/// The most that this process has had resident.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}
