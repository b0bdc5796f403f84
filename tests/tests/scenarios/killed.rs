//! The real program, killed in the middle of a sync again and again. `kill_cycles` does the same for as long as one likes.

use std::sync::Arc;

use lapis_tests::{
    TestChain,
    kills::{Kill, Life},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_is_never_fetched_again() {
    let chain = Arc::new(TestChain::of_four([6, 0, 9, 1, 12].into_iter().cycle().take(60)));
    let mut life = Life::begin(&chain).await;
    let moments = [Kill::Sent(20), Kill::Stored(3), Kill::Written(7), Kill::Stored(5), Kill::Sent(1), Kill::Written(2)];
    for kill in moments {
        life.run_and_kill(kill).await;
        assert!(!life.is_done());
    }
    let kills = life.finish().await;
    assert!(kills.iter().any(|killed| killed.had_answered && killed.lost > 0), "{kills:?}");
    let held: Vec<_> = kills.iter().map(|killed| killed.held.len()).collect();
    assert!(held.is_sorted() && held[0] < held[held.len() - 1], "each run adds to what the one before had: {held:?}");
}
