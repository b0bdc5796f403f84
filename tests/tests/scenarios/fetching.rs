//! Blobs from one peer without a node: honest peers, and every kind of wrong answer.

use std::sync::{Arc, LazyLock};

use lapis_node::{
    devnet::spec::DevnetParams,
    fetch::{Anchor, FetchError, Fetcher, Session},
};
use lapis_protocol_spec::{BlobSidecar, Bytes32, CertificateFault, Genesis, Height};
use lapis_tests::{
    Fault, Home, PATIENCE, ScriptedPeer, Setup, TestChain, kzg,
    peer::fault::{BlobFault, Data, StreamFault, ValidatorSetFault, ValueFault},
};

static CHAIN: LazyLock<Arc<TestChain>> = LazyLock::new(|| Arc::new(TestChain::of_four([2, 0, 70, 1, 3])));

async fn session(chain: &TestChain, address: libp2p::Multiaddr) -> Session {
    Session::open(address, *chain.chain().id(), PATIENCE).await.unwrap()
}

/// What came of a range, and how it ended.
async fn range(
    chain: &TestChain,
    session: &Session,
    heights: std::ops::RangeInclusive<Height>,
) -> (Vec<BlobSidecar>, Result<Anchor, FetchError>) {
    let mut blobs = Vec::new();
    let mut fetcher = Fetcher::new(session, chain.spec().genesis(), kzg());
    let mut take = |sidecar: lapis_protocol_spec::Verified<BlobSidecar>| {
        blobs.push(sidecar.into_inner());
        Ok(())
    };
    let ended = fetcher.heights(heights, &mut take).await;
    (blobs, ended)
}

fn certified(chain: &TestChain, heights: std::ops::RangeInclusive<Height>) -> Vec<BlobSidecar> {
    heights.flat_map(|height| &chain.block(height).blobs).map(|blob| (**blob).clone()).collect()
}

/// Who names the validators may sign values as large as they like.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_blobs_than_the_chain_allows_are_not_fetched() {
    let chain = Arc::clone(&CHAIN);
    let node = Home::holding(&chain, chain.blocks()).start(Setup::default()).await;
    let session = session(&chain, node.address()).await;
    let genesis = Genesis { max_blobs_per_block: 1, ..chain.spec().genesis().clone() };
    let mut fetcher = Fetcher::new(&session, &genesis, kzg());
    let ended = fetcher.heights(1..=5, &mut |_| panic!("nothing is fetched")).await;
    let fault = CertificateFault::TooManyBlobs { found: 2, limit: 1 };
    assert!(matches!(&ended, Err(FetchError::Certificate { height: 1, fault: found }) if *found == fault), "{ended:?}");
    session.close().await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_range_and_single_hashes_from_a_node() {
    let chain = Arc::clone(&CHAIN);
    let node = Home::holding(&chain, chain.blocks()).start(Setup::default()).await;
    let session = session(&chain, node.address()).await;
    let (blobs, anchor) = range(&chain, &session, 1..=5).await;
    assert_eq!(anchor.unwrap(), Anchor::Genesis);
    assert!(blobs == certified(&chain, 1..=5));
    let (blobs, anchor) = range(&chain, &session, 4..=5).await;
    assert_eq!(anchor.unwrap(), Anchor::Set(chain.spec().validators_root(4)));
    assert!(blobs == certified(&chain, 4..=5));
    let (blobs, ended) = range(&chain, &session, 5..=6).await;
    assert!(matches!(ended, Err(FetchError::NotHeld { height: 6 })), "{ended:?}");
    assert!(blobs == certified(&chain, 5..=5));

    let wanted = [chain.block(5).blobs[1].versioned_hash(), chain.block(1).blobs[0].versioned_hash()];
    let unknown = Bytes32::from([1; 32]);
    let mut found = Vec::new();
    let mut fetcher = Fetcher::new(&session, chain.spec().genesis(), kzg());
    let mut take = |sidecar: lapis_protocol_spec::Verified<BlobSidecar>| {
        found.push(sidecar.versioned_hash());
        Ok(())
    };
    let missing = fetcher.hashes(&[wanted[0], unknown, wanted[1]], &mut take).await.unwrap();
    found.sort();
    let mut expected = wanted;
    expected.sort();
    assert_eq!((missing, found), (vec![unknown], expected.to_vec()));
    session.close().await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_wrong_is_handed_on() {
    let chain = Arc::clone(&CHAIN);
    let faults = [
        Fault::Blob(BlobFault::WrongBlob),
        Fault::Blob(BlobFault::WrongProof),
        Fault::Blob(BlobFault::LastProofWrong),
        Fault::Blob(BlobFault::HalfAHeight),
        Fault::Blob(BlobFault::MoreThanAsked),
        Fault::Value(ValueFault::Forged),
        Fault::Value(ValueFault::ForgedWithCertificate),
        Fault::Value(ValueFault::BrokenLink),
        Fault::Value(ValueFault::OneSignature),
        Fault::Value(ValueFault::Gap),
        Fault::ValidatorSet(ValidatorSetFault::OtherSet),
        Fault::Stream(Data::Blobs, StreamFault::Truncated),
        Fault::Stream(Data::Blobs, StreamFault::Empty),
    ];
    for fault in faults {
        let peer = ScriptedPeer::with(&chain, fault).await;
        let session = session(&chain, peer.address()).await;
        let (blobs, ended) = range(&chain, &session, 1..=5).await;
        assert!(ended.is_err(), "{fault:?}");
        let honest = certified(&chain, 1..=5);
        assert!(blobs.iter().all(|blob| honest.contains(blob)), "{fault:?}: something wrong was handed on");
        session.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_of_another_chain_is_told_from_a_silent_one() {
    let (chain, other) = (Arc::clone(&CHAIN), Arc::new(TestChain::new(&DevnetParams::new(3), [1])));
    let node = Home::holding(&other, other.blocks()).start(Setup::default()).await;
    let refused = Session::open(node.address(), *chain.chain().id(), PATIENCE).await;
    assert!(matches!(refused, Err(FetchError::Refused(_))), "{refused:?}");
    node.stop().await;
}
