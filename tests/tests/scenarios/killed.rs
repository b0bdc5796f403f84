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

/// Blobs that are on their way at most: those that fit into the least memory that may be configured.
const IN_FLIGHT: usize = 32 * 1024 * 1024 / lapis_protocol_spec::BlobSidecar::BYTES;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_is_never_fetched_again() {
    let chain = Arc::new(TestChain::of_four([6, 0, 9, 1, 12].into_iter().cycle().take(60)));
    let peer = ScriptedPeer::honest(&chain).await;
    let program = Program::init(&chain);
    let settings = [("LAPIS_SYNC__MAX_BUFFERED_BYTES", "32 MiB")];

    // What was held at each kill, and how much had been sent by then.
    let mut kills: Vec<(HashSet<(Height, u64)>, usize)> = Vec::new();
    for kill in [Kill::Sent(20), Kill::Stored(3), Kill::Sent(35), Kill::Stored(5), Kill::Sent(1), Kill::Stored(2)] {
        let sent = peer.log().now().sidecars().count();
        let stored = program_store_height(&program, &kills);
        let goal = |log: &Log| match kill {
            Kill::Sent(more) => log.sidecars().count() >= sent + more,
            Kill::Stored(more) => log.told_available() >= stored + more,
        };
        // No more than this is sent in this run, so that it ends before the sync does.
        peer.allow_sidecars(sent + 60);
        let process = program.run(&[peer.address()], &settings).await;
        peer.log().until(&format!("{kill:?}"), goal).await;
        process.kill();
        let sent = peer.log().now().sidecars().count();
        let store = program.store();
        kills.push((held_blobs(&store, chain.blocks()), sent));
    }

    peer.allow_sidecars(usize::MAX);
    let process = program.run(&[peer.address()], &settings).await;
    peer.log().until("the whole chain", |log| log.told_available() == chain.last()).await;
    process.stop().await;
    assert_holds(&program.store(), chain.blocks());

    let log: Vec<_> = peer.log().now().sidecars().collect();
    for (held, sent) in &kills {
        let again: Vec<_> = log[*sent..].iter().filter(|place| held.contains(place)).collect();
        assert!(again.is_empty(), "stored before a kill and fetched after it: {again:?}");
    }
    let held: Vec<_> = kills.iter().map(|(held, _)| held.len()).collect();
    assert!(held.is_sorted() && held[0] < held[held.len() - 1], "each run adds to what the one before had: {held:?}");
    let most = chain.blob_count() + kills.len() * IN_FLIGHT;
    assert!(log.len() <= most, "{} blobs were sent, of {}", log.len(), chain.blob_count());
}

/// The height up to which everything is stored, while the program does not run.
fn program_store_height(program: &Program, kills: &[(HashSet<(Height, u64)>, usize)]) -> Height {
    if kills.is_empty() { 0 } else { program.store().watermarks().available }
}
