//! Nodes that start from a decided value that their operator trusts.

use std::{
    collections::BTreeSet,
    sync::{Arc, LazyLock},
};

use lapis_node::{
    checkpoint::{Checkpoint, CheckpointError},
    config::EngineKind,
    devnet::{chain_maker::Block, spec::DevnetParams},
    node::StartError,
};
use lapis_protocol_spec::Height;
use lapis_tests::{
    Fault, Home, ScriptedPeer, Setup, TestChain, assert_holds,
    peer::fault::{ClaimFault, PayloadFault, ValidatorSetFault, ValueFault},
};
use libp2p::Multiaddr;

/// The validators change at the height after the checkpoint, and once more later.
static CHAIN: LazyLock<Arc<TestChain>> = LazyLock::new(|| {
    let members_from = [(7, BTreeSet::from([1, 2, 3])), (9, BTreeSet::from([0, 1, 2, 3]))];
    let params = DevnetParams { members_from: members_from.into(), ..DevnetParams::new(4) };
    Arc::new(TestChain::new(&params, [1, 0, 2, 1, 0, 1, 2, 0, 1, 1]))
});

const TRUSTED: Height = 6;

/// What a node holds that starts there.
fn after_it(chain: &TestChain) -> &[Block] {
    let below = chain.up_to(TRUSTED).len();
    &chain.blocks()[below..]
}

fn checkpoint(chain: &TestChain) -> Checkpoint {
    Checkpoint { height: TRUSTED.try_into().unwrap(), value_id: *chain.block(TRUSTED).value.id() }
}

fn setup(peers: impl IntoIterator<Item = Multiaddr>, checkpoint: Checkpoint) -> Setup {
    let mut setup = Setup::peers(peers);
    setup.config.sync.checkpoint = Some(checkpoint);
    setup
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_trusts_a_checkpoint_syncs_and_imports_what_comes_after_it_and_serves_it() {
    let chain = Arc::clone(&CHAIN);
    let honest = ScriptedPeer::honest(&chain).await;
    let node = Home::new(&chain).start(setup([honest.address()], checkpoint(&chain))).await;
    node.imported(chain.last()).await;
    assert_holds(node.store(), after_it(&chain));
    let marks = node.store().watermarks();
    assert_eq!((marks.earliest_value, marks.earliest_payload), (TRUSTED + 1, TRUSTED + 1));

    // A second one that starts there has all it needs of the first one, but the checkpoint itself.
    let second = setup([node.address(), honest.address()], checkpoint(&chain));
    let second = Home::new(&chain).start(second).await;
    second.imported(chain.last()).await;
    second.assert_unblemished(node.peer_id()).await;
    second.stop().await;

    // It goes on without the checkpoint, and with it.
    let home = node.stop().await;
    let node = home.start(Setup::peers([honest.address()])).await;
    assert_eq!(node.store().watermarks().imported, chain.last());
    let node = node.stop().await.start(setup([honest.address()], checkpoint(&chain))).await;
    assert_holds(node.store(), after_it(&chain));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_peers_say_of_a_checkpoint_is_held_against_its_id() {
    let chain = Arc::clone(&CHAIN);
    let faults = [
        Fault::Value(ValueFault::ForgedWithCertificate),
        Fault::ValidatorSet(ValidatorSetFault::OtherSet),
        Fault::Payload(PayloadFault::WrongByte),
        Fault::Claim(ClaimFault::OtherGenesis),
    ];
    let mut peers = Vec::new();
    for fault in faults {
        peers.push(ScriptedPeer::with(&chain, fault).await);
    }
    peers.push(ScriptedPeer::honest(&chain).await);
    let addresses: Vec<_> = peers.iter().map(ScriptedPeer::address).collect();
    let node = Home::new(&chain).start(setup(addresses, checkpoint(&chain))).await;
    let reader = node.store().reader().unwrap();
    let root = chain.spec().validators_root(TRUSTED + 1);
    assert_eq!(reader.validator_set(&root).unwrap().as_ref(), Some(chain.spec().validator_set(TRUSTED + 1)));
    drop(reader);
    node.imported(chain.last()).await;
    assert_holds(node.store(), after_it(&chain));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_holds_another_value_than_the_checkpoint_is_refused_and_stays_as_it_is() {
    let chain = Arc::clone(&CHAIN);
    let honest = ScriptedPeer::honest(&chain).await;
    let other = Checkpoint { value_id: [7; 32].into(), ..checkpoint(&chain) };
    let home = Home::holding(&chain, chain.blocks());
    let (refused, home) = home.refused(setup([honest.address()], other)).await;
    let held = *chain.block(TRUSTED).value.id();
    assert!(
        matches!(&refused, StartError::Checkpoint(CheckpointError::Contradicted { found, .. }) if *found == held),
        "{refused}"
    );
    assert_holds(&home.store(), chain.blocks());
    // One that the store agrees with changes nothing.
    let node = home.start(setup([honest.address()], checkpoint(&chain))).await;
    assert_holds(node.store(), chain.blocks());
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_an_engine_a_checkpoint_needs_no_payload() {
    let chain = Arc::clone(&CHAIN);
    let faulty = ScriptedPeer::with(&chain, Fault::Payload(PayloadFault::OfAnotherHeight)).await;
    let mut setup = setup([faulty.address()], checkpoint(&chain));
    setup.config.engine.kind = EngineKind::None;
    let node = Home::new(&chain).start(setup).await;
    node.watermarks("values come", |marks| marks.decided == chain.last()).await;
    assert!(node.store().watermarks().imported >= TRUSTED);
    node.stop().await;
}
