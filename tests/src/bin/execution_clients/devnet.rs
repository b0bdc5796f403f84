//! `lapis devnet` with clients that build its blocks.

use std::{sync::Arc, time::Duration};

use lapis_tests::execution::{Devnet, ExecutionClient, Kind};

use crate::{
    Case,
    chains::{Chains, Forks},
};

const HEIGHTS: u64 = 20;
const BLOCK_TIME: Duration = Duration::from_millis(50);

/// Every case.
pub(crate) fn all(chains: &Arc<Chains>) -> Vec<Case> {
    let forks = Forks::ALL.into_iter();
    let both = forks.map(|forks| {
        let name = format!("devnet, {forks}: two clients build in turn and import each other's blocks");
        Case::new(name, in_turn(Arc::clone(chains), forks))
    });
    let alone = Kind::ALL.into_iter().map(|kind| {
        let name = format!("devnet: {kind} builds, the follower and the late node have clients of their own");
        Case::new(name, one_builds(Arc::clone(chains), kind))
    });
    both.chain(alone)
        .chain([Case::new("devnet: clients with different geneses", different(Arc::clone(chains)))])
        .collect()
}

async fn in_turn(chains: Arc<Chains>, forks: Forks) {
    let genesis = forks.genesis();
    let ethrex = ExecutionClient::start(chains.programs(), Kind::Ethrex, &genesis).await;
    let ethereumjs = ExecutionClient::start(chains.programs(), Kind::Ethereumjs, &genesis).await;
    let clients = [&ethrex, &ethereumjs];
    let said =
        Devnet { validators: 2, heights: HEIGHTS, blobs: 4, block_time: BLOCK_TIME }.run(&clients).await.unwrap();
    assert!(said.contains("decision to VALID"), "{said}");
    same_heads(&clients).await;
}

/// The clients of the two validators that there are, of the follower and of the late node.
async fn one_builds(chains: Arc<Chains>, kind: Kind) {
    let genesis = Forks::Prague.genesis();
    let mut clients = Vec::new();
    for kind in [kind, kind.other(), kind] {
        clients.push(ExecutionClient::start(chains.programs(), kind, &genesis).await);
    }
    let clients: Vec<_> = clients.iter().collect();
    Devnet { validators: 1, heights: HEIGHTS, blobs: 9, block_time: BLOCK_TIME }.run(&clients).await.unwrap();
    same_heads(&clients).await;
}

async fn different(chains: Arc<Chains>) {
    let one = ExecutionClient::start(chains.programs(), Kind::Ethrex, &Forks::Prague.genesis()).await;
    let other = ExecutionClient::start(chains.programs(), Kind::Ethrex, &Forks::Cancun.genesis()).await;
    let refused =
        Devnet { validators: 2, heights: 2, blobs: 0, block_time: BLOCK_TIME }.run(&[&one, &other]).await.unwrap_err();
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.errors.contains("was not started with the execution genesis"), "{refused:?}");
}

async fn same_heads(clients: &[&ExecutionClient]) {
    let first = clients[0].head().await;
    assert_eq!(first.map(|head| head.number), Some(HEIGHTS));
    for client in clients {
        assert_eq!(client.head().await, first, "{}", client.kind());
    }
}
