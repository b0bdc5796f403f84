//! A peer that breaks one rule, to be pointed at any node that speaks the protocol.
//!
//! The chain is made on the spot and is the same every time: `hostile-peer genesis` writes its genesis, with which the node
//! under test is to be started. `hostile-peer play honest` serves that chain as it should be, so that the node has
//! somebody to catch up from; `hostile-peer play blob/wrong-proof` breaks a rule whenever it has the occasion. What the
//! node did is printed at the end, one JSON object.

use std::{fs, io, path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use clap::{Parser, Subcommand};
use lapis_node::{devnet::spec::DevnetParams, genesis_file};
use lapis_tests::{
    ScriptedPeer, TestChain,
    peer::fault::{Fault, catalog},
};
use libp2p::Multiaddr;
use serde_json::json;

/// A peer that breaks one rule, for testing nodes.
#[derive(Debug, Parser)]
#[command(name = "hostile-peer", max_term_width = 120)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List what it can do wrong
    List,
    /// Write the genesis of the chain that it serves
    Genesis {
        /// File to write
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Serve the chain and break a rule
    Play {
        /// The fault, or `honest`
        fault: String,
        /// Nodes to connect to, each with /p2p/PEER_ID at the end
        #[arg(long, value_name = "ADDR")]
        dial: Vec<Multiaddr>,
        /// Heights of the chain
        #[arg(long, default_value_t = 64)]
        heights: u64,
        /// Blobs per height
        #[arg(long, default_value_t = 3)]
        blobs: u64,
        /// How long to stay; until it is interrupted if not given
        #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
        stay: Option<Duration>,
    },
}

/// Four validators: as in most tests.
fn params() -> DevnetParams {
    DevnetParams::new(4)
}

#[tokio::main]
async fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::List => {
            println!("{:<32} breaks no rule", "honest");
            catalog().iter().for_each(|listed| println!("{:<32} {}", listed.name, listed.what));
            Ok(())
        }
        Command::Genesis { out } => genesis(&out),
        Command::Play { fault, dial, heights, blobs, stay } => match find(&fault) {
            Ok(fault) => play(fault, &dial, (heights, blobs), stay).await,
            Err(error) => Err(error),
        },
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hostile-peer: {error}");
            ExitCode::from(2)
        }
    }
}

fn genesis(out: &std::path::Path) -> io::Result<()> {
    let chain = TestChain::new(&params(), []);
    let json = genesis_file::to_json(chain.spec().genesis()).map_err(io::Error::other)?;
    fs::write(out, json)
}

/// The fault with this name; `None` for none.
fn find(name: &str) -> io::Result<Option<Fault>> {
    if name == "honest" {
        return Ok(None);
    }
    let known = catalog().into_iter().find(|listed| listed.name == name);
    let unknown = || io::Error::other(format!("{name:?} is no fault; `hostile-peer list` names them"));
    known.map(|listed| Some(listed.fault)).ok_or_else(unknown)
}

async fn play(
    fault: Option<Fault>,
    dial: &[Multiaddr],
    (heights, blobs): (u64, u64),
    stay: Option<Duration>,
) -> io::Result<()> {
    let count = usize::try_from(heights).map_err(io::Error::other)?;
    let chain = Arc::new(TestChain::new(&params(), std::iter::repeat_n(blobs, count)));
    let peer = match fault {
        Some(fault) => ScriptedPeer::with(&chain, fault).await,
        None => ScriptedPeer::honest(&chain).await,
    };
    println!("{}", json!({ "address": peer.address(), "fault": fault.map(|fault| format!("{fault:?}")) }));
    for address in dial {
        peer.connect(&chain, address).await.map_err(io::Error::other)?;
    }
    tokio::select! {
        () = async { tokio::time::sleep(stay.unwrap_or(Duration::MAX)).await } => {}
        interrupted = tokio::signal::ctrl_c() => interrupted?,
    }
    let log = peer.log().now();
    let report = json!({
        "requests": log.asked.len(),
        "data_requests": log.data_requests().count(),
        "items_sent": log.sent.len(),
        "faults_played": log.faults,
        "node_says_available": log.told_available(),
    });
    println!("{report}");
    Ok(())
}
