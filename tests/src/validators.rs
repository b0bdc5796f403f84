//! Four validators: consensus in this process, their nodes over real streams.

use std::{sync::Arc, time::Duration};

use lapis_node::{
    devnet::{
        consensus::{self, BlobCounts, ConsensusError, Faults, Progress, ValidatorPort},
        proposal::Tip,
    },
    node::Source,
    source::{self, SourceHandle},
};
use lapis_protocol_spec::{GoodbyeReason, Height};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{Home, Setup, TestChain, TestNode};

/// One validator's node, and consensus' way to it.
#[derive(Debug)]
struct Member {
    node: TestNode,
    source: SourceHandle,
}

/// The validators of a chain with their nodes. Consensus runs when it is told to.
#[derive(Debug)]
pub struct Validators {
    chain: Arc<TestChain>,
    tip: Tip,
    blobs: BlobCounts,
    members: Vec<Option<Member>>,
}

impl Validators {
    /// Starts the nodes and connects each with all others.
    pub async fn start(blobs: BlobCounts) -> Self {
        Self::of(Arc::new(TestChain::of_four([])), blobs).await
    }

    /// The same for the validators of `chain`, which has no blocks yet.
    pub async fn of(chain: Arc<TestChain>, blobs: BlobCounts) -> Self {
        let tip = *chain.maker().tip();
        let count = chain.spec().validators().len();
        let mut validators = Self { chain, tip, blobs, members: Vec::new() };
        for index in 0..count {
            validators.members.push(None);
            let home = Home::new(&validators.chain);
            validators.restart(index, home).await;
        }
        validators
    }

    /// The node of validator `index`, which runs.
    pub fn node(&self, index: usize) -> &TestNode {
        &self.members[index].as_ref().expect("a validator that runs").node
    }

    /// Stops a validator's node.
    pub async fn stop(&mut self, index: usize) -> Home {
        let member = self.members[index].take().expect("a validator that runs");
        member.node.stop().await
    }

    /// Starts a validator's node, and connects it with all others.
    pub async fn restart(&mut self, index: usize, home: Home) {
        let (source, commands) = source::channel();
        let node = home.start(Setup::default().source(Source::Local(commands))).await;
        self.members[index] = Some(Member { node, source });
        self.heal(index).await;
    }

    /// Connects a validator's node with all others.
    pub async fn heal(&self, index: usize) {
        let node = self.node(index);
        for other in self.others(index) {
            node.dial(other.address()).await;
        }
    }

    /// Cuts a validator's node off from all others.
    pub async fn cut_off(&self, index: usize) {
        let node = self.node(index);
        for other in self.others(index) {
            node.handle().network.disconnect(other.peer_id(), GoodbyeReason::Fault).await.unwrap();
        }
        node.status("nobody is connected", |status| status.peers == 0).await;
    }

    fn others(&self, index: usize) -> impl Iterator<Item = &TestNode> {
        let running = self.members.iter().enumerate().filter(move |(other, _)| *other != index);
        running.filter_map(|(_, member)| member.as_ref()).map(|member| &member.node)
    }

    /// Lets the validators `present` decide up to `last`.
    ///
    /// # Errors
    /// As consensus does.
    pub async fn decide(&mut self, present: &[usize], last: Height) -> Result<(), ConsensusError> {
        self.decide_with(present, last, Faults::default()).await
    }

    /// The same with faults of consensus.
    ///
    /// # Errors
    /// As consensus does.
    pub async fn decide_with(&mut self, present: &[usize], last: Height, faults: Faults) -> Result<(), ConsensusError> {
        let port = |index: &usize| {
            let member = self.members[*index].as_ref().expect("a validator that runs");
            ValidatorPort { key: self.chain.maker().keys()[*index].clone(), source: member.source.clone() }
        };
        let config = consensus::Config {
            last_height: Some(last),
            block_time: Duration::ZERO,
            blobs: self.blobs.clone(),
            faults,
            ..consensus::Config::default()
        };
        let (progress, _) = watch::channel(Progress::default());
        let ports = present.iter().map(port).collect();
        let proposer = self.chain.maker().proposer().clone();
        self.tip = consensus::run(proposer, ports, self.tip, config, progress, CancellationToken::new()).await?;
        Ok(())
    }

    /// Waits until every node has imported `height`, and compares what they hold.
    pub async fn agree(&self, height: Height) {
        for member in self.members.iter().flatten() {
            member.node.imported(height).await;
        }
        let first = self.node(0);
        for other in self.others(0) {
            lapis_node::devnet::compare(first.store(), other.store(), height).unwrap();
        }
    }

    /// Stops all of them.
    pub async fn stop_all(mut self) {
        for index in 0..self.members.len() {
            self.stop(index).await;
        }
    }
}
