//! Chains whose validators change.

use std::{
    collections::BTreeSet,
    sync::{Arc, LazyLock},
};

use lapis_node::devnet::spec::DevnetParams;
use lapis_p2p::Offence;
use lapis_protocol_spec::{Bytes32, HeightRange, Item, Request};
use lapis_tests::{
    Fault, Home, ScriptedPeer, Setup, TestChain, assert_holds,
    peer::{Log, Reply, fault::ValidatorSetFault},
};

/// At height 4 the first one leaves, at 7 two come back for another, at 9 all sign as in the beginning.
static CHAIN: LazyLock<Arc<TestChain>> = LazyLock::new(|| {
    let members_from = [(4, BTreeSet::from([1, 2, 3])), (7, BTreeSet::from([0, 3])), (9, BTreeSet::from([0, 1, 2, 3]))];
    let params = DevnetParams { members_from: members_from.into(), ..DevnetParams::new(4) };
    Arc::new(TestChain::new(&params, [1, 0, 2, 1, 0, 1, 2, 0, 1, 1]))
});

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_node_follows_a_chain_whose_validators_change_and_change_back() {
    let chain = Arc::clone(&CHAIN);
    let first = Home::holding(&chain, chain.blocks()).start(Setup::default()).await;
    first.imported(chain.last()).await;
    let second = Home::new(&chain).start(Setup::peers([first.address()])).await;
    second.imported(chain.last()).await;
    assert_holds(second.store(), chain.blocks());
    first.stop().await;

    // What it fetched it serves: a third node learns everything, sets included, from the second one alone.
    let third = Home::new(&chain).start(Setup::peers([second.address()])).await;
    third.imported(chain.last()).await;
    assert_holds(third.store(), chain.blocks());
    let client = ScriptedPeer::honest(&chain).await;
    let server = client.dial(&chain, &third.address()).await;
    for height in 1..=chain.last() {
        let root = chain.spec().validators_root(height);
        let replies = client.ask(server, &Request::ValidatorSetByRoot(root)).await;
        assert_eq!(replies, [Reply::Item(Item::ValidatorSet(chain.spec().validator_set(height).clone()))]);
    }
    third.stop().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_set_than_the_one_asked_for_is_not_believed() {
    let chain = Arc::clone(&CHAIN);
    let faulty = ScriptedPeer::with(&chain, Fault::ValidatorSet(ValidatorSetFault::OtherSet)).await;
    let node = Home::new(&chain).start(Setup::peers([faulty.address()])).await;
    faulty.log().misbehaved().await;
    let honest = ScriptedPeer::honest(&chain).await;
    node.dial(honest.address()).await;
    node.imported(chain.last()).await;
    assert_holds(node.store(), chain.blocks());
    node.knows("the peer is charged", faulty.peer_id(), |info| {
        info.last_fault.is_some_and(|fault| fault.offence == Offence::Malformed)
    })
    .await;
    node.assert_unblemished(honest.peer_id()).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_announcement_by_new_validators_is_enough_and_is_passed_on() {
    let chain = Arc::clone(&CHAIN);
    // Nobody says anything of itself after this, so whatever follows follows from announcements.
    let (before, first) = (3, 4);
    let [announcer, listener] = [ScriptedPeer::honest(&chain).await, ScriptedPeer::honest(&chain).await];
    for peer in [&announcer, &listener] {
        peer.reveal(before);
    }
    let node = Home::holding(&chain, chain.up_to(before)).start(Setup::default()).await;
    for peer in [&announcer, &listener] {
        peer.dial(&chain, &node.address()).await;
    }
    for height in first..=chain.last() {
        announcer.reveal(height);
        announcer.announce(&chain.block(height).decided, 1).await;
        node.imported(height).await;
    }
    assert_holds(node.store(), chain.blocks());
    let all = usize::try_from(chain.last() - before).unwrap();
    let log = listener.log().until("all announcements are passed on", |log| log.announced.len() >= all).await;
    assert_eq!(log.announced, (first..=chain.last()).collect::<Vec<_>>());
    node.assert_unblemished(announcer.peer_id()).await;
    node.assert_unblemished(listener.peer_id()).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_announcement_that_nobody_can_judge_yet_is_kept_until_its_signers_are_known() {
    let chain = Arc::clone(&CHAIN);
    // New validators sign at 7, which the value of 6 says. Neither peer knows that value, nor so the validators.
    let height = 7;
    let [announcer, listener] = [ScriptedPeer::honest(&chain).await, ScriptedPeer::honest(&chain).await];
    for peer in [&announcer, &listener] {
        peer.reveal(height - 2);
    }
    let node = Home::holding(&chain, chain.up_to(height - 2)).start(Setup::default()).await;
    for peer in [&announcer, &listener] {
        peer.dial(&chain, &node.address()).await;
    }
    announcer.announce(&chain.block(height - 1).decided, 1).await;
    let set = Request::ValidatorSetByRoot(chain.spec().validators_root(height));
    let asked = |log: &Log, request: &Request| log.asked.iter().any(|asked| asked.request == *request);
    announcer.log().until("it is asked who signs next", |log| asked(log, &set)).await;
    announcer.announce(&chain.block(height).decided, 1).await;
    let value = Request::DecidedValuesByRange(HeightRange { start_height: height, count: 1 });
    announcer.log().until("what it announces counts as a claim", |log| asked(log, &value)).await;

    let informed = ScriptedPeer::honest(&chain).await;
    informed.reveal(height);
    informed.dial(&chain, &node.address()).await;
    node.imported(height).await;
    let log = listener.log().until("both announcements are passed on", |log| log.announced.len() >= 2).await;
    assert_eq!(log.announced, [height - 1, height]);
    assert_holds(node.store(), chain.up_to(height));
    for peer in [&announcer, &listener, &informed] {
        node.assert_unblemished(peer.peer_id()).await;
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_announcement_that_was_kept_and_turns_out_to_be_forged_is_charged() {
    let chain = Arc::clone(&CHAIN);
    let height = 3;
    let liar = ScriptedPeer::honest(&chain).await;
    liar.reveal(height - 2);
    let node = Home::holding(&chain, chain.up_to(height - 2)).start(Setup::default()).await;
    liar.dial(&chain, &node.address()).await;
    // Who signs it is for the value before it to say, which nobody knows yet.
    let mut forged = (*chain.block(height).decided).clone();
    forged.value.validators_root = Bytes32::from([7; 32]);
    forged.certificate.value_id = forged.value.id();
    liar.announce(&forged, 1).await;
    liar.reveal(height - 1);
    liar.announce(&chain.block(height - 1).decided, 1).await;
    node.knows("the liar is charged", liar.peer_id(), |info| {
        info.last_fault.is_some_and(|fault| fault.offence == Offence::InvalidAnnouncement)
    })
    .await;
    node.stop().await;
}
