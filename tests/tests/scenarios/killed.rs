//! The real program, killed in the middle of a sync again and again.

use std::{collections::HashSet, sync::Arc};

use lapis_protocol_spec::Height;
use lapis_tests::{Program, ScriptedPeer, TestChain, assert_holds, held_blobs, peer::Log};

/// When a run ends.
#[derive(Clone, Copy, Debug)]
enum Kill {
    /// When so many more blobs have been sent to it, whatever it has done with them.
    Sent(usize),
    /// When it tells others that it has stored so many more heights.
    Stored(Height),
}

/// As little memory as may be configured.
const SETTINGS: [(&str, &str); 1] = [("LAPIS_SYNC__MAX_BUFFERED_BYTES", "32 MiB")];
/// Blobs that are on their way at most: those that fit into that.
const IN_FLIGHT: usize = 32 * 1024 * 1024 / lapis_protocol_spec::BlobSidecar::BYTES;

/// A run that was killed.
#[derive(Debug)]
struct Killed {
    /// Blobs that were in the store then.
    held: HashSet<(Height, u64)>,
    /// Blobs that had been sent to it until then, in all runs.
    sent: usize,
}

/// Runs the program until `kill` says, and looks at what it leaves.
async fn run_and_kill(program: &Program, chain: &TestChain, peer: &ScriptedPeer, kill: Kill) -> Killed {
    let sent = peer.log().now().sidecars().count();
    let stored = program.store().watermarks().available;
    // No more than this is sent in this run, so that it is killed before the sync is done.
    peer.allow_sidecars(sent + 60);
    let process = program.run(&[peer.address()], &SETTINGS).await;
    let reached = |log: &Log| match kill {
        Kill::Sent(more) => log.sidecars().count() >= sent + more,
        Kill::Stored(more) => log.told_available() >= stored + more,
    };
    peer.log().until(&format!("{kill:?}"), reached).await;
    process.kill();
    let sent = peer.log().now().sidecars().count();
    Killed { held: held_blobs(&program.store(), chain.blocks()), sent }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_is_never_fetched_again() {
    let chain = Arc::new(TestChain::of_four([6, 0, 9, 1, 12].into_iter().cycle().take(60)));
    let peer = ScriptedPeer::honest(&chain).await;
    let program = Program::init(&chain);
    let mut kills = Vec::new();
    for kill in [Kill::Sent(20), Kill::Stored(3), Kill::Sent(35), Kill::Stored(5), Kill::Sent(1), Kill::Stored(2)] {
        kills.push(run_and_kill(&program, &chain, &peer, kill).await);
    }
    peer.allow_sidecars(usize::MAX);
    let process = program.run(&[peer.address()], &SETTINGS).await;
    peer.log().until("the whole chain", |log| log.told_available() == chain.last()).await;
    process.stop().await;
    assert_holds(&program.store(), chain.blocks());

    let log: Vec<_> = peer.log().now().sidecars().collect();
    for Killed { held, sent } in &kills {
        let again: Vec<_> = log[*sent..].iter().filter(|place| held.contains(place)).collect();
        assert!(again.is_empty(), "stored before a kill and fetched after it: {again:?}");
    }
    let held: Vec<_> = kills.iter().map(|killed| killed.held.len()).collect();
    assert!(held.is_sorted() && held[0] < held[held.len() - 1], "each run adds to what the one before had: {held:?}");
    let most = chain.blob_count() + kills.len() * IN_FLIGHT;
    assert!(log.len() <= most, "{} blobs were sent, of {}", log.len(), chain.blob_count());
}
