//! What is tried with every client.

use std::{fs, path::Path, sync::Arc};

use alloy_primitives::{B256, hex};
use lapis_node::status::{NodeStatus, PoolStatus};
use lapis_protocol_spec::Height;
use lapis_tests::{
    TestChain,
    execution::{
        ClientChain, ExecutionClient, Head, Importer, Kind, Live, with_swapped_commitments, with_wrong_state_root,
    },
};

use crate::{
    Case,
    chains::{Built, Chains, Forks},
};

/// Every case, with every client.
pub(crate) fn all(chains: &Arc<Chains>) -> Vec<Case> {
    let mut cases = Vec::new();
    for kind in Kind::ALL {
        for forks in Forks::ALL {
            let chains = Arc::clone(chains);
            let name = format!("{kind}, {forks}: builds empty heights and heights with every number of blobs");
            cases.push(Case::new(name, builds(chains, kind, forks)));
        }
    }
    for into in Kind::ALL {
        for by in Kind::ALL {
            for forks in Forks::ALL {
                let name = format!("{into}, {forks}: a late node with an empty client takes what {by} built");
                cases.push(Case::new(name, catches_up(Arc::clone(chains), by, into, forks)));
            }
        }
        let name = format!("{into}: a node takes the blobs that its client has in its pool from there");
        cases.push(Case::new(name, has_blobs(Arc::clone(chains), into)));
        cases.extend(troubles(chains, into));
    }
    cases
}

/// What goes wrong with a client, or with what it is given.
fn troubles(chains: &Arc<Chains>, kind: Kind) -> Vec<Case> {
    let chains = || Arc::clone(chains);
    let name = |what: &str| format!("{kind}: {what}");
    vec![
        Case::new(name("killed in mid-import and restarted"), killed(chains(), kind)),
        Case::new(name("loses its data at the head and is fed again"), wiped_at_the_head(chains(), kind)),
        Case::new(name("loses its data in mid-import and is fed again"), wiped_in_mid_import(chains(), kind)),
        Case::new(name("lapis is killed in mid-import and restarted"), lapis_killed(chains(), kind)),
        Case::new(name("another secret"), another_secret(chains(), kind)),
        Case::new(name("another genesis"), another_genesis(chains(), kind)),
        Case::new(name("the chain decides a wrong state root"), wrong_state_root(chains(), kind)),
        Case::new(name("the chain decides blobs in another order"), swapped_blobs(chains(), kind)),
    ]
}

async fn builds(chains: Arc<Chains>, kind: Kind, forks: Forks) {
    let Built { chain, .. } = chains.of(kind, forks).await;
    let counts: Vec<u64> = chain.blocks().iter().map(|block| block.blobs.len() as u64).collect();
    assert_eq!(counts, forks.blobs());
}

async fn catches_up(chains: Arc<Chains>, by: Kind, into: Kind, forks: Forks) {
    let Built { genesis, chain } = chains.of(by, forks).await;
    let client = ExecutionClient::start(chains.programs(), into, &genesis).await;
    let live = Live::start(&chain).await;
    live.decide(chain.blocks()).await;
    let mut late = Importer::new(&chain);
    late.run(&[live.address()], &client).await;
    late.imported(chain.last()).await;
    assert_eq!(client.head().await, Some(head_at(&chain, chain.last())));
    late.until("idle at the head", |status| status.engine.kind == "idle").await;
    late.stop().await;
    live.assert_blames_nobody().await;
}

/// The client has built the chain itself, and may still have the blobs.
async fn has_blobs(chains: Arc<Chains>, kind: Kind) {
    let mut making = chains.begin(kind, Forks::Prague).await;
    making.extend([3, 0, 6]).await;
    let chain = Arc::new(making.so_far());
    let mut late = Importer::new(&chain);
    late.run(&[], making.client()).await;
    late.until("the client has said what it has", |status| status.sync.pool.is_asked).await;
    let live = Live::start(&chain).await;
    live.decide(chain.blocks()).await;
    live.dial(&late.status().await).await;
    late.imported(chain.last()).await;
    // One keeps blobs for a while after they are in a block, the other does not.
    let (given, lacking) = match kind {
        Kind::Ethereumjs => (chain.blob_count() as u64, 0),
        Kind::Ethrex => (0, chain.blob_count() as u64),
    };
    let as_expected = |pool: &PoolStatus| (pool.blobs, pool.misses, pool.faults) == (given, lacking, 0);
    late.until("what the pool gave", |status| as_expected(&status.sync.pool)).await;
    late.stop().await;
    live.assert_blames_nobody().await;
}

/// The client dies while there are heights to import. Nothing is lost, and what waits has a name.
async fn killed(chains: Arc<Chains>, kind: Kind) {
    let Built { genesis, chain } = chains.of(kind.other(), Forks::Both).await;
    let mut client = ExecutionClient::start(chains.programs(), kind, &genesis).await;
    let (live, mut node) = part_of(&chain, 5, &client).await;
    client.kill();
    live.decide(&chain.blocks()[5..]).await;
    let waits = node.until("a name for it", |status| status.engine.kind == "unreachable").await;
    assert_eq!(waits.imported_height, 5, "{waits:#?}");
    node.until("all heights, not imported", |status| status.available_height == chain.last()).await;
    client.restart().await;
    ends_well(&mut node, &client, &chain).await;
    live.assert_blames_nobody().await;
}

async fn wiped_at_the_head(chains: Arc<Chains>, kind: Kind) {
    let Built { genesis, chain } = chains.of(kind.other(), Forks::Both).await;
    let mut client = ExecutionClient::start(chains.programs(), kind, &genesis).await;
    let last = chain.last();
    let (live, mut node) = part_of(&chain, last - 1, &client).await;
    client.wipe();
    client.restart().await;
    assert_eq!(client.head().await.map(|head| head.number), Some(0), "it has lost its data");
    live.decide(&chain.blocks()[chain.blocks().len() - 1..]).await;
    ends_well(&mut node, &client, &chain).await;
}

async fn wiped_in_mid_import(chains: Arc<Chains>, kind: Kind) {
    let Built { genesis, chain } = chains.of(kind.other(), Forks::Both).await;
    let mut client = ExecutionClient::start(chains.programs(), kind, &genesis).await;
    let (live, mut node) = part_of(&chain, 5, &client).await;
    client.wipe();
    live.decide(&chain.blocks()[5..]).await;
    node.until("all heights, not imported", |status| status.available_height == chain.last()).await;
    client.restart().await;
    ends_well(&mut node, &client, &chain).await;
}

/// The program dies between the client's answer and the note of it, as likely as at any other moment.
async fn lapis_killed(chains: Arc<Chains>, kind: Kind) {
    let Built { genesis, chain } = chains.of(kind.other(), Forks::Both).await;
    let client = ExecutionClient::start(chains.programs(), kind, &genesis).await;
    let mut node = Importer::holding(&chain);
    for height in [1, chain.last() / 2] {
        node.run(&[], &client).await;
        node.imported(height).await;
        node.kill();
    }
    node.run(&[], &client).await;
    ends_well(&mut node, &client, &chain).await;
}

async fn another_secret(chains: Arc<Chains>, kind: Kind) {
    let Built { genesis, chain } = chains.of(kind, Forks::Both).await;
    let client = ExecutionClient::start(chains.programs(), kind, &genesis).await;
    let live = Live::start(&chain).await;
    live.decide(chain.blocks()).await;
    let dir = tempfile::tempdir().unwrap();
    let wrong = dir.path().join("wrong.hex");
    fs::write(&wrong, hex::encode([7_u8; 32])).unwrap();
    let mut node = Importer::new(&chain);
    node.run_with(&[live.address()], &client.engine_url(), &wrong).await;
    node.until("a name for it", |status| status.engine.kind == "unauthorized").await;
    let status = node.until("all data", |status| status.available_height == chain.last()).await;
    assert_eq!((status.imported_height, status.peers), (0, 1), "{status:#?}");
    live.assert_blames_nobody().await;
    node.stop().await;
    node.run(&[live.address()], &client).await;
    ends_well(&mut node, &client, &chain).await;
}

async fn another_genesis(chains: Arc<Chains>, kind: Kind) {
    let Built { chain, .. } = chains.of(kind, Forks::Both).await;
    let client = ExecutionClient::start(chains.programs(), kind, &Forks::Cancun.genesis()).await;
    let mut node = Importer::holding(&chain);
    node.run(&[], &client).await;
    let status = node.until("a name for it", |status| status.engine.kind == "wrong_chain").await;
    assert_eq!(status.imported_height, 0, "{status:#?}");
    node.stop().await;
}

async fn wrong_state_root(chains: Arc<Chains>, kind: Kind) {
    let mut making = chains.begin(kind, Forks::Both).await;
    making.extend([0, 2, 1]).await;
    let built = making.propose(2).await;
    let forged = with_wrong_state_root(making.proposer(), making.maker().tip(), built);
    making.decide(forged);
    refused(&chains, kind, making).await;
}

async fn swapped_blobs(chains: Arc<Chains>, kind: Kind) {
    let mut making = chains.begin(kind, Forks::Prague).await;
    making.extend([0, 2, 1]).await;
    let built = making.propose(3).await;
    let forged = with_swapped_commitments(making.proposer(), making.maker().tip(), built);
    making.decide(forged);
    refused(&chains, kind, making).await;
}

/// The last height of the chain is none that a client can take. Import halts before it, says so, and keeps the evidence;
/// a restart changes nothing of it. The client stays where it was, and no peer is blamed.
async fn refused(chains: &Chains, kind: Kind, making: ClientChain) {
    let chain = Arc::new(making.so_far());
    let client = ExecutionClient::start(chains.programs(), kind, making.genesis()).await;
    let live = Live::start(&chain).await;
    let good = chain.last() - 1;
    let mut node = Importer::new(&chain);
    node.run(&[live.address()], &client).await;
    live.decide(chain.up_to(good)).await;
    node.imported(good).await;
    live.decide(&chain.blocks()[chain.blocks().len() - 1..]).await;
    halts(&mut node, &client, &chain).await;
    node.run(&[live.address()], &client).await;
    halts(&mut node, &client, &chain).await;
    live.assert_blames_nobody().await;
}

async fn halts(node: &mut Importer, client: &ExecutionClient, chain: &TestChain) {
    let good = chain.last() - 1;
    let status = node.until("a halt", |status| status.engine.kind == "halted").await;
    assert_halted(&status, chain, good);
    assert_eq!(client.head().await, Some(head_at(chain, good)));
    node.stop().await;
}

fn assert_halted(status: &NodeStatus, chain: &TestChain, good: Height) {
    assert_eq!((status.imported_height, status.available_height), (good, chain.last()), "{status:#?}");
    assert_eq!(status.stall.as_ref().map(|stall| stall.reason.as_str()), Some("import_halted"), "{status:#?}");
    let evidence = status.engine.evidence.as_ref().expect("evidence is kept");
    let text = fs::read_to_string(Path::new(evidence)).unwrap();
    let payload = hex::encode(chain.block(chain.last()).payload.payload.as_bytes());
    assert!(text.contains(&payload), "the evidence has the payload");
}

/// A node with an empty store has imported the first heights of the chain into `client`.
async fn part_of(chain: &Arc<TestChain>, height: Height, client: &ExecutionClient) -> (Live, Importer) {
    let live = Live::start(chain).await;
    live.decide(chain.up_to(height)).await;
    let mut node = Importer::new(chain);
    node.run(&[live.address()], client).await;
    node.imported(height).await;
    (live, node)
}

/// The node comes to the end of the chain, and so does its client.
async fn ends_well(node: &mut Importer, client: &ExecutionClient, chain: &TestChain) {
    node.until("the end of the chain", |status| status.imported_height == chain.last() && status.engine.kind == "idle")
        .await;
    assert_eq!(client.head().await, Some(head_at(chain, chain.last())));
    node.stop().await;
}

fn head_at(chain: &TestChain, height: Height) -> Head {
    let value = chain.block(height).value.value();
    Head { hash: B256::new(value.block_hash.0), number: height }
}
