//! One validator at the table: its vote and the way to its node.

use std::time::Duration;

use lapis_protocol_spec::{CommitSignature, Height};
use tokio::time::timeout;

use super::ValidatorPort;
use crate::{
    devnet::{
        proposal::Tip,
        spec::ChainSpec,
        vote::{VoteFault, Voter},
    },
    source::{Decision, Proposal, SourceError, SourceHandle},
};

/// Why a validator did not do its part.
#[derive(Debug, thiserror::Error)]
pub(super) enum SeatFault {
    /// Its node refused or failed.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// Its node did not answer in time.
    #[error("the node did not answer within {0:?}")]
    Timeout(Duration),
    /// The validator does not agree to the proposal.
    #[error("no vote: {0}")]
    Vote(#[from] VoteFault),
}

/// A validator and its node.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) index: usize,
    voter: Voter,
    source: SourceHandle,
    time_limit: Duration,
    /// The node closed its end; it is offline from then on.
    closed: bool,
}

impl Seat {
    pub(super) fn new(index: usize, port: ValidatorPort, time_limit: Duration) -> Self {
        Self { index, voter: Voter::new(port.key), source: port.source, time_limit, closed: false }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Stores the proposal and, for a member of the set that signs the height, votes for it.
    pub(super) async fn store_and_vote(
        &mut self,
        spec: &ChainSpec,
        tip: &Tip,
        proposal: &Proposal,
    ) -> Result<Option<CommitSignature>, SeatFault> {
        self.store(proposal).await?;
        self.vote(spec, tip, proposal)
    }

    pub(super) async fn store(&mut self, proposal: &Proposal) -> Result<(), SeatFault> {
        let answer = timeout(self.time_limit, self.source.propose(proposal.clone())).await;
        self.answered(answer)
    }

    pub(super) fn vote(
        &mut self,
        spec: &ChainSpec,
        tip: &Tip,
        proposal: &Proposal,
    ) -> Result<Option<CommitSignature>, SeatFault> {
        if !spec.members(proposal.value.value().height).contains(&self.index) {
            return Ok(None);
        }
        Ok(Some(self.voter.precommit(spec, tip, proposal)?))
    }

    pub(super) async fn decide(&mut self, decision: &Decision) -> Result<(), SeatFault> {
        let answer = timeout(self.time_limit, self.source.decide(decision.clone())).await;
        self.answered(answer)
    }

    pub(super) async fn drop_round(&mut self, height: Height, round: u64) -> Result<(), SeatFault> {
        let answer = timeout(self.time_limit, self.source.drop_round(height, round)).await;
        self.answered(answer)
    }

    fn answered<E>(&mut self, answer: Result<Result<(), SourceError>, E>) -> Result<(), SeatFault> {
        let answer = answer.map_err(|_elapsed| SeatFault::Timeout(self.time_limit))?;
        self.closed |= matches!(answer, Err(SourceError::Closed));
        Ok(answer?)
    }
}
