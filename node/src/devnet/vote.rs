//! Voting: what a validator checks before it signs, and how signatures become a certificate.

use alloy_primitives::B256;
use lapis_protocol_spec::{
    Address, Bytes32, CertificateFault, CommitCertificate, CommitSignature, Height, Validator, ValidatorSet,
    certificate::VoteKind,
};
use ssz_rs::List;

use super::{keys::ValidatorKey, proposal::Tip, spec::ChainSpec};
use crate::{
    execution::{Head, ImportBlock, ImportFault, UnsupportedFork, embedded::next_head},
    source::Proposal,
};

/// Why a validator does not vote for a proposal.
#[derive(Debug, thiserror::Error)]
pub enum VoteFault {
    /// This validator is not of the set that signs the height.
    #[error("{0} does not sign height {1}")]
    NotMember(Address, Height),
    /// It voted in this round, or a later one, already.
    #[error("already voted in round {round} of height {height}")]
    AlreadyVoted {
        /// Height of the last vote.
        height: Height,
        /// Round of the last vote.
        round: u64,
    },
    /// The value does not attach to the tip.
    #[error(transparent)]
    Link(#[from] CertificateFault),
    /// Another validator's turn.
    #[error("proposed by {found}, it is {expected}'s turn")]
    Proposer {
        /// Who proposed.
        found: Address,
        /// Whose turn it is.
        expected: Address,
    },
    /// The value appoints another set for the next height than the chain does.
    #[error("next_validators_root is not the chain's")]
    NextValidators,
    /// More blobs than the chain allows.
    #[error("{found} blobs, the chain allows {limit}")]
    TooManyBlobs {
        /// Blobs of the value.
        found: u64,
        /// The chain's limit.
        limit: u64,
    },
    /// Data of the value is missing or belongs to another one.
    #[error("the proposal's data is not the whole of the value's data")]
    Incomplete,
    /// The value's timestamp has no execution fork.
    #[error(transparent)]
    Fork(#[from] UnsupportedFork),
    /// The execution block is not one that the engine would import.
    #[error(transparent)]
    Block(#[from] ImportFault),
}

/// A validator's vote: its key and the last round it signed. Owned by whoever runs the validator.
#[derive(Debug)]
pub struct Voter {
    key: ValidatorKey,
    voted: Option<(Height, u64)>,
}

impl Voter {
    /// A validator that has not voted yet.
    #[must_use]
    pub fn new(key: ValidatorKey) -> Self {
        Self { key, voted: None }
    }

    /// The validator's key.
    #[must_use]
    pub fn key(&self) -> &ValidatorKey {
        &self.key
    }

    /// Checks the proposal and precommits to it. Call it once the proposal is stored. Signs once per round, and never
    /// in a round before the last one.
    ///
    /// # Errors
    /// The first [`VoteFault`] found; nothing is signed then.
    pub fn precommit(
        &mut self,
        spec: &ChainSpec,
        tip: &Tip,
        proposal: &Proposal,
    ) -> Result<CommitSignature, VoteFault> {
        let this = (proposal.value.value().height, proposal.round);
        if let Some((height, round)) = self.voted.filter(|last| *last >= this) {
            return Err(VoteFault::AlreadyVoted { height, round });
        }
        let (height, round) = this;
        let address = self.key.address();
        if !spec.validator_set(height).validators.iter().any(|member| member.address() == address) {
            return Err(VoteFault::NotMember(address, height));
        }
        check_value(spec, tip, proposal)?;
        check_data(spec, tip, proposal)?;
        self.voted = Some(this);
        Ok(self.key.sign(spec.genesis_id(), VoteKind::Precommit, height, round, *proposal.value.id()))
    }
}

fn check_value(spec: &ChainSpec, tip: &Tip, proposal: &Proposal) -> Result<(), VoteFault> {
    let value = proposal.value.value();
    value.check_link(&tip.link)?;
    let turn = spec.validators().get(spec.proposer(value.height, proposal.round));
    let expected = turn.map(Validator::address).unwrap_or_default();
    if value.proposer != expected {
        return Err(VoteFault::Proposer { found: value.proposer, expected });
    }
    if value.next_validators_root != spec.validators_root(value.height.saturating_add(1)) {
        return Err(VoteFault::NextValidators);
    }
    let (found, limit) = (value.blob_count() as u64, spec.genesis().max_blobs_per_block);
    if found > limit { Err(VoteFault::TooManyBlobs { found, limit }) } else { Ok(()) }
}

/// The gates have shown that each part is true; here they must be all parts, and a block that extends the tip's.
fn check_data(spec: &ChainSpec, tip: &Tip, proposal: &Proposal) -> Result<(), VoteFault> {
    let (value, id) = (proposal.value.value(), proposal.value.id());
    let own = proposal.payload.value_id() == id && proposal.blobs.iter().all(|blob| blob.value_id() == id);
    let in_order = (0_u64..).zip(&proposal.blobs).all(|(index, blob)| blob.index == index);
    if !own || !in_order || proposal.blobs.len() != value.blob_count() {
        return Err(VoteFault::Incomplete);
    }
    let head = Head {
        height: tip.link.height,
        block_hash: B256::new(tip.link.block_hash.0),
        block_number: tip.execution.number,
        timestamp: tip.link.timestamp,
    };
    next_head(&head, &ImportBlock::new(value, &proposal.payload, spec.forks())?)?;
    Ok(())
}

/// Makes a certificate of precommits, in the order of addresses. `None` if there are more than a set may have members.
///
/// Whether they are enough is for [`DecidedValue::verify`](lapis_protocol_spec::DecidedValue::verify) to say.
#[must_use]
pub fn certificate(
    height: Height,
    round: u64,
    value_id: Bytes32,
    mut signatures: Vec<CommitSignature>,
) -> Option<CommitCertificate> {
    signatures.sort_by_key(|signature| signature.address);
    let signatures = List::try_from(signatures).ok()?;
    Some(CommitCertificate { height, round, value_id, signatures })
}

/// Whether `power` is more than two thirds of the power of `set`.
#[must_use]
pub fn is_quorum(power: u64, set: &ValidatorSet) -> bool {
    u128::from(power) * 3 > u128::from(set.total_power()) * 2
}

#[cfg(test)]
mod tests;
