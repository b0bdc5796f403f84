//! Nodes that keep what they are told in memory, and do wrong on demand.

use std::sync::{Arc, Mutex};

use lapis_protocol_spec::{DecidedValue, Height, Verified};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{Config, ConsensusError, Progress, ValidatorPort, run};
use crate::{
    devnet::{
        chain_maker::ChainMaker,
        fixtures::kzg,
        keys::ValidatorKey,
        proposal::Tip,
        spec::{ChainSpec, DevnetParams},
    },
    source::{Proposal, SourceCommand, SourceCommands, SourceError, channel},
};

/// What a node was told, by height and round; `Stored` is its own answer to a proposal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    Proposed(Height, u64),
    Stored(Height, u64),
    Decided(Height, u64),
    Dropped(Height, u64),
}

#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) node: usize,
    pub(super) event: Event,
    proposal: Option<Proposal>,
    decided: Option<Verified<DecidedValue>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Behaviour {
    Good,
    /// Closes its end after that many commands.
    CloseAfter(usize),
    RefuseProposals,
    RefuseDecisions,
    /// Takes commands and never answers.
    Silent,
    /// Cancels the run when it hears of that height's proposal.
    CancelAt(Height),
}

type Log = Arc<Mutex<Vec<Entry>>>;

pub(super) struct Network {
    chain: ChainMaker,
    tip: Tip,
    behaviours: Vec<Behaviour>,
    log: Log,
    progress: watch::Sender<Progress>,
}

impl Network {
    pub(super) fn new(validators: usize) -> Self {
        Self::with_params(&DevnetParams::new(validators))
    }

    pub(super) fn with_params(params: &DevnetParams) -> Self {
        let chain = ChainMaker::new(params, kzg()).unwrap();
        Self {
            tip: *chain.tip(),
            behaviours: vec![Behaviour::Good; chain.keys().len()],
            log: Log::default(),
            progress: watch::channel(Progress::default()).0,
            chain,
        }
    }

    pub(super) fn from_tip(validators: usize, tip: Tip) -> Self {
        Self { tip, ..Self::new(validators) }
    }

    pub(super) fn behaves(&mut self, node: usize, behaviour: Behaviour) {
        self.behaviours[node] = behaviour;
    }

    pub(super) async fn run(&mut self, config: Config) -> Result<Tip, ConsensusError> {
        let cancel = CancellationToken::new();
        let ports = self.chain.keys().iter().cloned().enumerate().map(|(index, key)| {
            let (source, commands) = channel();
            let node =
                Node { index, behaviour: self.behaviours[index], log: Arc::clone(&self.log), cancel: cancel.clone() };
            tokio::spawn(node.serve(commands));
            ValidatorPort { key, source }
        });
        let (proposer, progress) = (self.chain.proposer().clone(), self.progress.clone());
        run(proposer, ports.collect(), self.tip, config, progress, cancel.clone()).await
    }

    pub(super) fn spec(&self) -> &Arc<ChainSpec> {
        self.chain.spec()
    }

    pub(super) fn keys(&self) -> &[ValidatorKey] {
        self.chain.keys()
    }

    pub(super) fn progress(&self) -> Progress {
        *self.progress.borrow()
    }

    pub(super) fn log(&self) -> Vec<Entry> {
        self.log.lock().unwrap().clone()
    }

    /// What `node` was told, in order.
    pub(super) fn events(&self, node: usize) -> Vec<Event> {
        let told = |entry: &Entry| entry.node == node && !matches!(entry.event, Event::Stored(..));
        self.log().iter().filter(|entry| told(entry)).map(|entry| entry.event).collect()
    }

    pub(super) fn proposals(&self, node: usize) -> Vec<Proposal> {
        self.log().into_iter().filter(|entry| entry.node == node).filter_map(|entry| entry.proposal).collect()
    }

    pub(super) fn decided(&self, node: usize) -> Vec<Verified<DecidedValue>> {
        self.log().into_iter().filter(|entry| entry.node == node).filter_map(|entry| entry.decided).collect()
    }
}

struct Node {
    index: usize,
    behaviour: Behaviour,
    log: Log,
    cancel: CancellationToken,
}

impl Node {
    async fn serve(self, mut commands: SourceCommands) {
        let mut taken = 0;
        // What is never answered has to be kept, or the asker would notice.
        let mut unanswered = Vec::new();
        while self.behaviour != Behaviour::CloseAfter(taken) {
            let Some(command) = commands.recv().await else { return };
            taken += 1;
            match self.behaviour {
                Behaviour::Silent => unanswered.push(command),
                _ => self.take(command),
            }
        }
    }

    fn take(&self, command: SourceCommand) {
        let refused = || Err(SourceError::Store("refused".to_owned()));
        match command {
            SourceCommand::Propose { proposal, done } => {
                let (height, round) = (proposal.value.value().height, proposal.round);
                self.note(Event::Proposed(height, round), Some(*proposal), None);
                if self.behaviour == Behaviour::CancelAt(height) {
                    self.cancel.cancel();
                }
                if self.behaviour == Behaviour::RefuseProposals {
                    return drop(done.send(refused()));
                }
                self.note(Event::Stored(height, round), None, None);
                drop(done.send(Ok(())));
            }
            SourceCommand::Decide { decision, done } => {
                let decided = decision.decided;
                let (height, round) = (decided.height(), decided.certificate.round);
                if self.behaviour == Behaviour::RefuseDecisions {
                    return drop(done.send(refused()));
                }
                self.note(Event::Decided(height, round), None, Some(decided));
                drop(done.send(Ok(())));
            }
            SourceCommand::DropRound { height, round, done } => {
                self.note(Event::Dropped(height, round), None, None);
                drop(done.send(Ok(())));
            }
        }
    }

    fn note(&self, event: Event, proposal: Option<Proposal>, decided: Option<Verified<DecidedValue>>) {
        self.log.lock().unwrap().push(Entry { node: self.index, event, proposal, decided });
    }
}
