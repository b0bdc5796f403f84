//! What is measured: rates and times, which depend on the machine and fail nothing.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use lapis_node::devnet::chain_maker::Block;
use lapis_protocol_spec::Height;
use lapis_tests::execution::{Devnet, ExecutionClient, Importer, Kind, Live};

use crate::chains::{Built, Chains, Forks};

/// Heights that a client is away for.
const AWAY: Height = 100;
/// Heights before that, and those of a full store.
const BEFORE: Height = 20;
const FULL: usize = 400;
/// Blobs by height, over and over.
const BLOBS: [u64; 4] = [0, 3, 6, 3];
/// Heights of which the time to VALID is measured.
const HEADS: u64 = 100;

/// What was measured with one client.
struct Row {
    kind: Kind,
    full_store: Duration,
    heads: String,
    away: Duration,
}

/// Measures each client and prints a table.
pub(crate) async fn print(chains: Arc<Chains>) {
    let blobs = || BLOBS.into_iter().cycle();
    let full = chains.build(Kind::Ethrex, Forks::Prague, blobs().take(FULL)).await;
    let mut rows = Vec::new();
    for kind in Kind::ALL {
        let full_store = full_store(&chains, kind, &full).await;
        let away = away(&chains, kind, &full).await;
        rows.push(Row { kind, full_store, heads: heads(&chains, kind).await, away });
    }
    println!("\nPrague; blobs by height {BLOBS:?} and on; times by the clock of this machine");
    for Row { kind, full_store, heads, away } in rows {
        let rate = FULL as f64 / full_store.as_secs_f64();
        println!("  {kind:<11} {FULL} heights from a full store   {full_store:.2?}, {rate:.0} heights/s");
        println!("  {kind:<11} decision to VALID, 6 blobs each  {heads}");
        println!("  {kind:<11} back after {AWAY} heights           {away:.2?} to the head");
    }
}

/// From the start of the node to its client's having all.
async fn full_store(chains: &Chains, kind: Kind, full: &Built) -> Duration {
    let client = ExecutionClient::start(chains.programs(), kind, &full.genesis).await;
    let mut node = Importer::holding(&full.chain);
    node.run(&[], &client).await;
    let started = Instant::now();
    node.imported(full.chain.last()).await;
    let took = started.elapsed();
    node.stop().await;
    took
}

/// From the moment that a client answers again, with its data as it was if it keeps any, to its having all.
async fn away(chains: &Chains, kind: Kind, full: &Built) -> Duration {
    let mut client = ExecutionClient::start(chains.programs(), kind, &full.genesis).await;
    let live = Live::start(&full.chain).await;
    live.decide(full.chain.up_to(BEFORE)).await;
    let mut node = Importer::new(&full.chain);
    node.run(&[live.address()], &client).await;
    node.imported(BEFORE).await;
    client.kill();
    let missed = |block: &&Block| (BEFORE + 1..=BEFORE + AWAY).contains(&block.value.value().height);
    let missed: Vec<_> = full.chain.blocks().iter().filter(missed).cloned().collect();
    live.decide(&missed).await;
    node.until("all data", |status| status.available_height == BEFORE + AWAY).await;
    client.restart().await;
    let started = Instant::now();
    node.imported(BEFORE + AWAY).await;
    let took = started.elapsed();
    node.stop().await;
    took
}

/// A devnet of one validator, whose client builds and imports, as it sums it up.
async fn heads(chains: &Chains, kind: Kind) -> String {
    let client = ExecutionClient::start(chains.programs(), kind, &Forks::Prague.genesis()).await;
    let devnet = Devnet { validators: 1, heights: HEADS, blobs: 6, block_time: Duration::from_millis(500) };
    let said = devnet.run(&[&client]).await.unwrap();
    let row = said.lines().find_map(|line| line.trim().strip_prefix("decision to VALID"));
    row.expect("the devnet measures it").trim().to_owned()
}
