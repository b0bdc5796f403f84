//! Announcements: how a new height gets around, and what does not.

use std::sync::{Arc, LazyLock};

use lapis_node::{node::Source, source};
use lapis_p2p::Offence;
use lapis_protocol_spec::{Bytes32, DecidedValue};
use lapis_tests::{Home, ScriptedPeer, Setup, TestChain, assert_holds, peer::Log};

static CHAIN: LazyLock<Arc<TestChain>> = LazyLock::new(|| Arc::new(TestChain::of_four([1, 0, 2, 1])));

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_height_reaches_a_node_over_two_hops() {
    let chain = Arc::clone(&CHAIN);
    let last = chain.last();
    let before = chain.up_to(last - 1);
    let (handle, commands) = source::channel();
    let first = Home::holding(&chain, before).start(Setup::default().source(Source::Local(commands))).await;
    let second = Home::holding(&chain, before).start(Setup::peers([first.address()])).await;
    let third = Home::holding(&chain, before).start(Setup::peers([second.address()])).await;
    second.status("both neighbours", |status| status.peers == 2).await;

    let block = chain.block(last);
    let proposal = lapis_node::source::Proposal {
        round: 0,
        value: block.value.clone(),
        payload: block.payload.clone(),
        blobs: block.blobs.clone(),
    };
    handle.propose(proposal).await.unwrap();
    handle.decide(block.decided.clone().into()).await.unwrap();
    for node in [&first, &second, &third] {
        node.imported(last).await;
        assert_holds(node.store(), chain.blocks());
    }
    assert!(third.peer(first.peer_id()).await.is_none(), "two hops");
    third.stop().await;
    second.stop().await;
    first.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_a_verified_announcement_is_passed_on_and_a_forged_one_is_charged() {
    let chain = Arc::clone(&CHAIN);
    let last = chain.last();
    let liar = ScriptedPeer::honest(&chain).await;
    let honest = ScriptedPeer::honest(&chain).await;
    let listener = ScriptedPeer::honest(&chain).await;
    for peer in [&liar, &honest, &listener] {
        peer.reveal(last - 1);
    }
    let node = Home::holding(&chain, chain.up_to(last - 1)).start(Setup::default()).await;
    for peer in [&liar, &honest, &listener] {
        peer.dial(&chain, &node.address()).await;
    }

    let DecidedValue { value, certificate } = (*chain.block(last).decided).clone();
    let mut forged = DecidedValue { value, certificate };
    forged.value.height += 1;
    forged.certificate.height += 1;
    forged.value.block_hash = Bytes32::from([4; 32]);
    forged.certificate.value_id = forged.value.id();
    liar.announce(&forged, 1).await;
    node.knows("the liar is charged", liar.peer_id(), |info| {
        info.last_fault.is_some_and(|fault| fault.offence == Offence::InvalidAnnouncement)
    })
    .await;

    honest.reveal(last);
    honest.announce(&chain.block(last).decided, 1).await;
    node.imported(last).await;
    let log = listener.log().until("the announcement is passed on", |log| !log.announced.is_empty()).await;
    assert_eq!(log.announced, [last], "the forged one was for height {}", last + 1);
    node.assert_unblemished(honest.peer_id()).await;
    node.assert_unblemished(listener.peer_id()).await;
    assert_holds(node.store(), chain.blocks());
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_announced_height_of_2_to_the_64_changes_nothing() {
    let chain = Arc::clone(&CHAIN);
    let last = chain.last();
    let liar = ScriptedPeer::honest(&chain).await;
    liar.reveal(0);
    let honest = ScriptedPeer::honest(&chain).await;
    let node = Home::new(&chain).start(Setup::default()).await;
    liar.dial(&chain, &node.address()).await;
    let mut announced = (*chain.block(last).decided).clone();
    announced.value.height = u64::MAX;
    announced.certificate.height = u64::MAX;
    announced.certificate.value_id = announced.value.id();
    liar.announce(&announced, 1).await;
    node.knows("the liar is charged", liar.peer_id(), |info| info.score < 0.0).await;
    node.dial(honest.address()).await;
    node.imported(last).await;
    assert_holds(node.store(), chain.blocks());
    node.status("a target that is true", |status| status.target_height == last).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_height_is_passed_on_once_however_its_certificate_is_written() {
    let chain = Arc::clone(&CHAIN);
    let last = chain.last();
    let [announcer, listener] = [ScriptedPeer::honest(&chain).await, ScriptedPeer::honest(&chain).await];
    for peer in [&announcer, &listener] {
        peer.reveal(last - 2);
    }
    let node = Home::holding(&chain, chain.up_to(last - 2)).start(Setup::default()).await;
    for peer in [&announcer, &listener] {
        peer.dial(&chain, &node.address()).await;
    }
    // Anybody can write the same signatures down in another order. The height is not the next one, so it stays undecided.
    let mut announced = (*chain.block(last).decided).clone();
    for _ in 0..3 {
        announcer.announce(&announced, 1).await;
        let mut signatures = announced.certificate.signatures.to_vec();
        signatures.rotate_left(1);
        announced.certificate.signatures = signatures.try_into().unwrap();
    }
    announcer.reveal(last);
    announcer.announce(&chain.block(last - 1).decided, 1).await;
    node.imported(last).await;
    let is_over = |log: &Log| log.announced.contains(&(last - 1));
    let log = listener.log().until("the height between is passed on", is_over).await;
    assert_eq!(log.announced, [last, last - 1]);
    node.assert_unblemished(announcer.peer_id()).await;
    node.stop().await;
}
