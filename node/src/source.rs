//! Where decided values come from.
//!
//! A node has one source. `Follow` takes certified values from peers (the metadata stage of `sync`). `Local` takes them
//! from a consensus engine in the same process, over the channel defined here: each command is acknowledged after the
//! node's store has committed it, so that an engine never announces what is not yet durable.

use lapis_protocol_spec::{
    BlobSidecar, DecidedValue, Height, PayloadEnvelope, ValidatorSet, Verified, matching::IdentifiedValue,
};
use tokio::sync::{mpsc, oneshot};

/// Commands that may wait for the node at a time: consensus decides one height at a time, so this is generous.
pub const COMMAND_CAPACITY: usize = 8;

/// A value that was proposed, with all data that belongs to it. The proposer stores it before it publishes it; the other
/// validators before they vote for it.
#[derive(Clone, Debug)]
pub struct Proposal {
    /// Round of the proposal.
    pub round: u64,
    /// The value.
    pub value: IdentifiedValue,
    /// Its execution payload.
    pub payload: Verified<PayloadEnvelope>,
    /// Its blobs, in order.
    pub blobs: Vec<Verified<BlobSidecar>>,
}

/// A decided value, with what its node cannot know yet.
#[derive(Clone, Debug)]
pub struct Decision {
    /// The value with its certificate.
    pub decided: Verified<DecidedValue>,
    /// The set that signs the next height, with the root that the value names; to be given where it is another one than
    /// signed this height. Others learn it from this node.
    pub next_validators: Option<ValidatorSet>,
}

impl From<Verified<DecidedValue>> for Decision {
    /// A decision after which the same validators sign.
    fn from(decided: Verified<DecidedValue>) -> Self {
        Self { decided, next_validators: None }
    }
}

/// What a local consensus engine asks of its node.
#[derive(Debug)]
pub enum SourceCommand {
    /// Store an undecided value with its data.
    Propose {
        /// The value and its data.
        proposal: Box<Proposal>,
        /// Completed after the commit.
        done: oneshot::Sender<Result<(), SourceError>>,
    },
    /// A value is decided: promote its data, drop the losing rounds, announce it.
    Decide {
        /// The value with its certificate, and the validators after it.
        decision: Box<Decision>,
        /// Completed after the commit.
        done: oneshot::Sender<Result<(), SourceError>>,
    },
    /// A round of a height will not be decided: forget its data.
    DropRound {
        /// The height.
        height: Height,
        /// The round.
        round: u64,
        /// Completed after the commit.
        done: oneshot::Sender<Result<(), SourceError>>,
    },
}

/// Why a command was not carried out.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SourceError {
    /// The node is shutting down.
    #[error("the node is shutting down")]
    Closed,
    /// The set that comes with a decision is not the one that the value names.
    #[error("the validator set is not the one that the decided value names")]
    OtherValidators,
    /// The store refused or failed; its own words.
    #[error("the store failed: {0}")]
    Store(String),
}

/// The consensus engine's end.
#[derive(Clone, Debug)]
pub struct SourceHandle(mpsc::Sender<SourceCommand>);

/// The node's end.
pub type SourceCommands = mpsc::Receiver<SourceCommand>;

/// Creates both ends.
pub fn channel() -> (SourceHandle, SourceCommands) {
    let (sender, receiver) = mpsc::channel(COMMAND_CAPACITY);
    (SourceHandle(sender), receiver)
}

impl SourceHandle {
    /// Stores a proposal; returns when it is durable.
    ///
    /// # Errors
    /// [`SourceError`].
    pub async fn propose(&self, proposal: Proposal) -> Result<(), SourceError> {
        self.call(|done| SourceCommand::Propose { proposal: Box::new(proposal), done }).await
    }

    /// Records a decision; returns when it is durable.
    ///
    /// # Errors
    /// [`SourceError`].
    pub async fn decide(&self, decision: Decision) -> Result<(), SourceError> {
        self.call(|done| SourceCommand::Decide { decision: Box::new(decision), done }).await
    }

    /// Forgets a losing round; returns when it is durable.
    ///
    /// # Errors
    /// [`SourceError`].
    pub async fn drop_round(&self, height: Height, round: u64) -> Result<(), SourceError> {
        self.call(|done| SourceCommand::DropRound { height, round, done }).await
    }

    async fn call(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<(), SourceError>>) -> SourceCommand,
    ) -> Result<(), SourceError> {
        let (done, result) = oneshot::channel();
        self.0.send(command(done)).await.map_err(|_| SourceError::Closed)?;
        result.await.map_err(|_| SourceError::Closed)?
    }
}
