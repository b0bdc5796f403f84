//! Archives beside peers, and instead of them.

use std::{
    collections::BTreeSet,
    ops::Range,
    sync::{Arc, LazyLock},
};

use lapis_node::{config::BlobRetention, devnet::spec::DevnetParams, status::StallReason};
use lapis_protocol_spec::Height;
use lapis_tests::{
    ArchiveDisorder, Fault, Home, MemoryArchive, ScriptedPeer, Setup, TestChain, TestNode, assert_holds,
    peer::fault::{BlobFault, PayloadFault, ValidatorSetFault, ValueFault},
};

/// Every node keeps blobs for 4 heights.
const RETENTION: u64 = 4;
/// So peers hold none below this.
const FLOOR: Height = 9;
/// All of the chain.
const ALL: Option<Range<Height>> = Some(1..13);

/// Validators change at height 4 and at height 7.
static CHAIN: LazyLock<Arc<TestChain>> = LazyLock::new(|| {
    let members_from = [(4, BTreeSet::from([1, 2, 3])), (7, BTreeSet::from([0, 1, 2, 3]))];
    let params =
        DevnetParams { members_from: members_from.into(), blob_retention_heights: RETENTION, ..DevnetParams::new(4) };
    Arc::new(TestChain::new(&params, [2, 1, 0, 3, 1, 2, 2, 1, 2, 0, 3, 1]))
});

/// A node that held everything, and has pruned what it may.
async fn pruned_node(chain: &Arc<TestChain>) -> TestNode {
    let node = Home::holding(chain, chain.blocks()).start(Setup::default()).await;
    node.watermarks("pruning up to the floor", |marks| marks.earliest_blob == FLOOR && marks.pruned == FLOOR - 1).await;
    node
}

/// A node that wants all blobs, however old.
fn collector() -> Setup {
    let mut setup = Setup::default();
    setup.config.retention.blob_heights = BlobRetention::All;
    setup
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_any_peer_catches_up_from_archives_alone() {
    let chain = Arc::clone(&CHAIN);
    // The sets change within a range and at the border of two.
    let first = MemoryArchive::honest(&chain, [1..4, 6..13]);
    let second = MemoryArchive::honest(&chain, Some(4..6));
    let node = Home::new(&chain).start(collector().archive(first.clone()).archive(second.clone())).await;
    node.imported(chain.last()).await;
    assert_holds(node.store(), chain.blocks());
    let items = chain.blob_count() as u64 + chain.last();
    let status = node
        .status("what came from archives", |status| {
            status.sync.archives.items == items && status.target_height == chain.last()
        })
        .await;
    let archives = &status.sync.archives;
    assert_eq!((archives.count, archives.values, archives.faults), (2, chain.last(), 0));
    assert!(status.not_ready.iter().any(|reason| reason == "no peers"), "{:?}", status.not_ready);
    // Nothing is asked for twice.
    let mut payloads = [first.log().payloads, second.log().payloads].concat();
    payloads.sort_unstable();
    assert_eq!(payloads, (1..=chain.last()).collect::<Vec<_>>());
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_peers_have_pruned_comes_from_the_archive_and_the_rest_from_them() {
    let chain = Arc::clone(&CHAIN);
    let peer = pruned_node(&chain).await;
    let node = Home::new(&chain).start(collector()).await;
    node.dial(peer.address()).await;
    node.status("a stall with a reason", |status| {
        status.stall.as_ref().is_some_and(|stall| stall.reason == StallReason::NoPeerHasData)
    })
    .await;
    let home = node.stop().await;

    let archive = MemoryArchive::honest(&chain, ALL);
    let mut setup = collector().archive(archive.clone());
    setup.config.network.peers = vec![peer.address()];
    let node = home.start(setup).await;
    node.imported(chain.last()).await;
    assert_holds(node.store(), chain.blocks());
    node.assert_unblemished(peer.peer_id()).await;
    node.stop().await;
    peer.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_archive_is_not_asked_for_what_peers_have() {
    let chain = Arc::clone(&CHAIN);
    let peer = pruned_node(&chain).await;
    let archive = MemoryArchive::honest(&chain, None);
    let mut setup = collector().archive(archive.clone());
    setup.config.network.peers = vec![peer.address()];
    let node = Home::new(&chain).start(setup).await;
    let whole_above = |marks: &lapis_storage::Watermarks| marks.decided == chain.last();
    node.watermarks("values from the peer", whole_above).await;
    node.status("no archive has it either", |status| {
        status.stall.as_ref().is_some_and(|stall| stall.detail.contains("no peer and no archive has 1..8"))
    })
    .await;
    archive.cover(ALL);
    node.imported(chain.last()).await;
    assert_holds(node.store(), chain.blocks());
    let log = archive.log();
    assert!(log.values.is_empty() && log.payloads.is_empty(), "{log:?}");
    let below: Vec<_> = chain.up_to(FLOOR - 1).iter().flat_map(|block| &block.blobs).collect();
    let asked: BTreeSet<_> = log.sidecars.iter().copied().collect();
    assert_eq!(asked, below.iter().map(|blob| (blob.height, blob.index)).collect());
    assert_eq!(log.sidecars.len(), asked.len(), "nothing is asked for twice");
    node.assert_unblemished(peer.peer_id()).await;
    node.stop().await;
    peer.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn holes_are_named_and_filled_when_the_archive_grows() {
    let chain = Arc::clone(&CHAIN);
    let archive = MemoryArchive::honest(&chain, [1..5, 8..13]);
    let node = Home::new(&chain).start(collector().archive(archive.clone())).await;
    node.imported(4).await;
    let status = node.status("a target", |status| status.target_height == 4).await;
    assert_eq!(status.decided_height, 4);
    archive.cover(ALL);
    node.imported(chain.last()).await;
    assert_holds(node.store(), chain.blocks());
    node.stop().await;
}

/// An archive is not in order; the node has no peers until it has noticed. It costs time and nothing else.
async fn costs_nothing_but_time(disorder: ArchiveDisorder) {
    let chain = Arc::clone(&CHAIN);
    let archive = MemoryArchive::with(&chain, ALL, disorder);
    let node = Home::new(&chain).start(collector().archive(archive.clone())).await;
    archive.misbehaved().await;
    let first = ScriptedPeer::honest(&chain).await;
    let second = ScriptedPeer::honest(&chain).await;
    node.dial(first.address()).await;
    node.dial(second.address()).await;
    node.imported(chain.last()).await;
    assert_holds(node.store(), chain.blocks());
    node.assert_unblemished(first.peer_id()).await;
    node.assert_unblemished(second.peer_id()).await;
    let is_counted = !matches!(
        disorder,
        ArchiveDisorder::Empty | ArchiveDisorder::Silent | ArchiveDisorder::Items(Fault::ValidatorSet(_))
    );
    node.status("the archive's faults", |status| (status.sync.archives.faults > 0) == is_counted).await;
    node.stop().await;
}

macro_rules! disorders {
    ($($name:ident: $disorder:expr;)*) => {
        mod disorders {
            use super::*;
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    costs_nothing_but_time($disorder).await;
                }
            )*
        }
    };
}

disorders! {
    forged_value: ArchiveDisorder::Items(Fault::Value(ValueFault::ForgedWithCertificate));
    broken_link: ArchiveDisorder::Items(Fault::Value(ValueFault::BrokenLink));
    one_signature: ArchiveDisorder::Items(Fault::Value(ValueFault::OneSignature));
    values_swapped: ArchiveDisorder::Items(Fault::Value(ValueFault::Swapped));
    values_with_a_gap: ArchiveDisorder::Items(Fault::Value(ValueFault::Gap));
    more_values_than_asked: ArchiveDisorder::Items(Fault::Value(ValueFault::MoreThanAsked));
    another_validator_set: ArchiveDisorder::Items(Fault::ValidatorSet(ValidatorSetFault::OtherSet));
    wrong_payload: ArchiveDisorder::Items(Fault::Payload(PayloadFault::WrongByte));
    short_payload: ArchiveDisorder::Items(Fault::Payload(PayloadFault::Short));
    payload_of_another_value: ArchiveDisorder::Items(Fault::Payload(PayloadFault::OtherValueId));
    wrong_blob: ArchiveDisorder::Items(Fault::Blob(BlobFault::WrongBlob));
    wrong_proof: ArchiveDisorder::Items(Fault::Blob(BlobFault::WrongProof));
    another_blob: ArchiveDisorder::Items(Fault::Blob(BlobFault::OtherBlob));
    half_a_height: ArchiveDisorder::Items(Fault::Blob(BlobFault::HalfAHeight));
    more_blobs_than_asked: ArchiveDisorder::Items(Fault::Blob(BlobFault::MoreThanAsked));
    damaged_heights: ArchiveDisorder::Damaged(3, 5);
    nothing_there: ArchiveDisorder::Empty;
    unreachable: ArchiveDisorder::Unreachable;
    silent: ArchiveDisorder::Silent;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_archive_gives_what_is_damaged_in_the_first() {
    let chain = Arc::clone(&CHAIN);
    let damaged = MemoryArchive::with(&chain, ALL, ArchiveDisorder::Damaged(4, 5));
    let whole = MemoryArchive::honest(&chain, ALL);
    let node = Home::new(&chain).start(collector().archive(damaged.clone()).archive(whole)).await;
    node.imported(chain.last()).await;
    assert_holds(node.store(), chain.blocks());
    node.stop().await;
}
