//! Values, certificates and validator sets whose rows a disk has damaged: never served, fetched again, served again.

use std::{
    collections::BTreeSet,
    sync::{Arc, LazyLock},
};

use lapis_node::{
    config::EngineKind,
    devnet::spec::DevnetParams,
    status::{NodeStatus, StallReason},
};
use lapis_p2p::Offence;
use lapis_protocol_spec::{Height, HeightRange, Item, Method, Request};
use lapis_tests::{
    Fault, Home, MemoryArchive, ScriptedPeer, Setup, TestChain, TestNode, assert_holds,
    peer::{Reply, fault::ValueFault},
};
use libp2p::PeerId;

/// From height 5 on one validator signs that did not before.
static CHAIN: LazyLock<Arc<TestChain>> = LazyLock::new(|| {
    let members_from = [(1, BTreeSet::from([0, 1, 2])), (5, BTreeSet::from([0, 1, 2, 3]))];
    let params = DevnetParams { members_from: members_from.into(), ..DevnetParams::new(4) };
    Arc::new(TestChain::new(&params, [1, 2, 0, 3, 1, 2]))
});

/// What the row of the decided value of `height` holds and no other.
fn value_bytes(height: Height) -> Vec<u8> {
    CHAIN.block(height).value.value().payload_digest.0.to_vec()
}

/// The same of its certificate.
fn certificate_bytes(height: Height) -> Vec<u8> {
    CHAIN.block(height).decided.certificate.signatures[0].signature.0.to_vec()
}

/// A node that holds the whole chain, some rows of which are damaged, and a peer that asks and has nothing.
struct Damaged {
    node: TestNode,
    client: ScriptedPeer,
    server: PeerId,
}

impl Damaged {
    async fn start(damages: impl IntoIterator<Item = Vec<u8>>, setup: Setup) -> Self {
        let home = Home::holding(&CHAIN, CHAIN.blocks()).start(Setup::default()).await;
        home.imported(CHAIN.last()).await;
        let home = home.stop().await;
        damages.into_iter().for_each(|bytes| home.damage_bytes(&bytes));
        let node = home.start(setup).await;
        let client = ScriptedPeer::honest(&CHAIN).await;
        client.reveal(0);
        let server = client.dial(&CHAIN, &node.address()).await;
        Self { node, client, server }
    }

    async fn ask(&self, request: &Request) -> Vec<Reply> {
        self.client.ask(self.server, request).await
    }

    /// The value of `height`, as it is served.
    async fn value(&self, height: Height) -> Option<Item> {
        let replies = self.ask(&Request::DecidedValuesByRange(HeightRange::new(height, 1))).await;
        match replies.as_slice() {
            [Reply::Item(item)] => Some(item.clone()),
            [Reply::Error(2, _)] => None,
            other => panic!("{other:?}"),
        }
    }

    async fn assert_not_served(&self, height: Height) {
        assert_eq!(self.value(height).await, None, "height {height}");
    }

    /// Waits until every value is served as it was decided, by asking for what is damaged as often as that takes.
    async fn mended(&self) {
        for block in CHAIN.blocks() {
            let height = block.value.value().height;
            let served = self.node.until("the value is served", async || self.value(height).await).await;
            assert_eq!(served, Item::DecidedValue(Box::new((*block.decided).clone())));
        }
        assert_holds(self.node.store(), CHAIN.blocks());
    }
}

/// `peer` was asked for the value of `height`, and for nothing else. A report that is late may have it asked for again.
fn assert_asked_for_value(peer: &ScriptedPeer, height: Height) {
    let log = peer.log().now();
    let requests: Vec<_> = log.data_requests().collect();
    let expected = Request::DecidedValuesByRange(HeightRange::new(height, 1));
    assert!(!requests.is_empty() && requests.iter().all(|request| **request == expected), "{requests:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_value_comes_back_from_a_peer_and_is_served_again() {
    let damaged = Damaged::start([value_bytes(4)], Setup::default()).await;
    damaged.assert_not_served(4).await;
    let peer = ScriptedPeer::honest(&CHAIN).await;
    damaged.node.dial(peer.address()).await;
    damaged.mended().await;
    assert_asked_for_value(&peer, 4);
    // What hangs on the value can be found again.
    let replies = damaged.ask(&Request::BlobsByRange(HeightRange::new(4, 1))).await;
    assert!(replies.len() == 3 && replies.iter().all(|reply| matches!(reply, Reply::Item(_))), "{}", replies.len());
    damaged.node.assert_unblemished(peer.peer_id()).await;
    damaged.node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_certificate_comes_back_from_a_peer_and_is_served_again() {
    let damaged = Damaged::start([certificate_bytes(2)], Setup::default()).await;
    damaged.assert_not_served(2).await;
    let peer = ScriptedPeer::honest(&CHAIN).await;
    damaged.node.dial(peer.address()).await;
    damaged.mended().await;
    assert_asked_for_value(&peer, 2);
    damaged.node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neighbours_the_first_and_the_last_come_back() {
    let damages = [value_bytes(1), value_bytes(2), value_bytes(3), certificate_bytes(3), value_bytes(6)];
    let damaged = Damaged::start(damages, Setup::default()).await;
    for height in [1, 2, 3, 6] {
        damaged.assert_not_served(height).await;
    }
    let peer = ScriptedPeer::honest(&CHAIN).await;
    damaged.node.dial(peer.address()).await;
    damaged.mended().await;
    damaged.node.assert_unblemished(peer.peer_id()).await;
    damaged.node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_value_comes_back_from_an_archive() {
    let archive = MemoryArchive::honest(&CHAIN, Some(1..7));
    let damaged = Damaged::start([value_bytes(4)], Setup::default().archive(archive.clone())).await;
    damaged.mended().await;
    assert!(archive.log().values.iter().all(|height| *height == 4), "{:?}", archive.log());
    damaged.node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forged_value_does_not_take_the_place_of_a_damaged_one() {
    let damaged = Damaged::start([value_bytes(4)], Setup::default()).await;
    damaged.assert_not_served(4).await;
    let liar = ScriptedPeer::with(&CHAIN, Fault::Value(ValueFault::ForgedWithCertificate)).await;
    damaged.node.dial(liar.address()).await;
    liar.log().misbehaved().await;
    let is_charged =
        |info: &lapis_p2p::PeerInfo| info.last_fault.is_some_and(|fault| fault.offence == Offence::InvalidData);
    damaged.node.knows("the liar is charged", liar.peer_id(), is_charged).await;
    damaged.assert_not_served(4).await;
    let peer = ScriptedPeer::honest(&CHAIN).await;
    damaged.node.dial(peer.address()).await;
    damaged.mended().await;
    damaged.node.assert_unblemished(peer.peer_id()).await;
    damaged.node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_validator_set_comes_back_and_is_served_again() {
    let (set, root) = (CHAIN.spec().validator_set(2), CHAIN.spec().validators_root(2));
    // The sets share most members, so the first set alone is recognized by how two of them follow each other.
    let bytes = [&set.validators[0], &set.validators[1], &set.validators[2]]
        .map(|validator| [&validator.public_key.0[..], &validator.power.to_le_bytes()].concat())
        .concat();
    let damaged = Damaged::start([bytes, value_bytes(2)], Setup::default()).await;
    let ask = async || {
        let replies = damaged.ask(&Request::ValidatorSetByRoot(root)).await;
        matches!(replies.as_slice(), [Reply::Item(_)]).then_some(replies)
    };
    assert_eq!(ask().await, None, "a damaged set is not served");
    damaged.assert_not_served(2).await;
    let peer = ScriptedPeer::honest(&CHAIN).await;
    damaged.node.dial(peer.address()).await;
    let replies = damaged.node.until("the set is served", ask).await;
    assert_eq!(replies, [Reply::Item(Item::ValidatorSet(set.clone()))]);
    // It is what the certificate of the damaged value is checked against.
    damaged.mended().await;
    damaged.node.assert_unblemished(peer.peer_id()).await;
    damaged.node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn data_that_is_missing_under_a_damaged_value_is_fetched_when_that_is_back() {
    let chain = &CHAIN;
    let home = Home::holding_except(chain, chain.blocks(), |height, index| (height, index) == (4, 1));
    home.damage_bytes(&value_bytes(4));
    let mut setup = Setup::default();
    setup.config.engine.kind = EngineKind::None;
    let node = home.start(setup).await;
    node.imported(3).await;
    let damaged =
        |status: &NodeStatus| status.stall.as_ref().is_some_and(|stall| stall.reason == StallReason::StoreDamaged);
    node.status("a stall with a reason", damaged).await;
    let peer = ScriptedPeer::honest(chain).await;
    node.dial(peer.address()).await;
    node.imported(chain.last()).await;
    assert_holds(node.store(), chain.blocks());
    let log = peer.log().now();
    assert_eq!(log.sidecars().collect::<Vec<_>>(), [(4, 1)]);
    let methods: BTreeSet<_> = log.data_requests().map(Request::method).collect();
    assert_eq!(methods, BTreeSet::from([Method::DecidedValuesByRange, Method::BlobsByRoot]));
    node.assert_unblemished(peer.peer_id()).await;
    node.stop().await;
}
