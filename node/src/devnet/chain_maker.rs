//! Chains made in one go: whole blocks with real signatures and proofs, without nodes, rounds or time.
//!
//! For filling stores and for forging: the parts of a block are plain containers again after
//! [`into_inner`](lapis_protocol_spec::Verified::into_inner), and the keys of all validators are at hand.

use std::sync::Arc;

use lapis_protocol_spec::{
    BlobSidecar, CertificateFault, CommitCertificate, CommitSignature, DecidedValue, Height, IdentifiedValue, Kzg,
    PayloadEnvelope, Verified, certificate::VoteKind,
};

use super::{
    blobs::BlobFactory,
    keys::ValidatorKey,
    proposal::{BuiltProposal, ProposeError, Proposer, Tip},
    spec::{ChainSpec, DevnetParams, SpecError},
    vote::certificate,
};

/// A decided height with everything that belongs to it.
#[derive(Clone, Debug)]
pub struct Block {
    /// The value and its certificate.
    pub decided: Verified<DecidedValue>,
    /// The value with its id.
    pub value: IdentifiedValue,
    /// Its execution payload.
    pub payload: Verified<PayloadEnvelope>,
    /// Its blobs, in order.
    pub blobs: Vec<Verified<BlobSidecar>>,
}

/// Why no chain or no further block can be made.
#[derive(Debug, thiserror::Error)]
pub enum MakeError {
    /// The parameters make no chain.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// The proposal cannot be built.
    #[error(transparent)]
    Propose(#[from] ProposeError),
    /// The certificate does not decide the value.
    #[error(transparent)]
    Certificate(#[from] CertificateFault),
    /// More signatures than a certificate may hold.
    #[error("more signatures than a certificate may hold")]
    TooManySignatures,
}

/// Makes the blocks of one chain, one after the other.
#[derive(Clone, Debug)]
pub struct ChainMaker {
    proposer: Proposer,
    keys: Vec<ValidatorKey>,
    tip: Tip,
}

impl ChainMaker {
    /// Starts at the genesis of the chain that `params` describe.
    ///
    /// # Errors
    /// [`MakeError::Spec`].
    pub fn new(params: &DevnetParams, kzg: Arc<Kzg>) -> Result<Self, MakeError> {
        let spec = Arc::new(ChainSpec::new(params)?);
        let tip = Tip::genesis(&spec);
        let proposer = Proposer::new(spec, BlobFactory::new(params.seed), kzg);
        Ok(Self { proposer, keys: params.keys(), tip })
    }

    /// The chain's definition.
    #[must_use]
    pub fn spec(&self) -> &Arc<ChainSpec> {
        self.proposer.spec()
    }

    /// The proposer, for [`consensus::run`](super::consensus::run) to go on with this chain.
    #[must_use]
    pub fn proposer(&self) -> &Proposer {
        &self.proposer
    }

    /// The keys of all validators, by index.
    #[must_use]
    pub fn keys(&self) -> &[ValidatorKey] {
        &self.keys
    }

    /// Where the chain stands.
    #[must_use]
    pub fn tip(&self) -> &Tip {
        &self.tip
    }

    /// Makes the next height with `blobs` blobs, decided in round 0 by all its validators.
    ///
    /// # Errors
    /// Every [`MakeError`] but [`MakeError::Spec`].
    pub fn next(&mut self, blobs: u64) -> Result<Block, MakeError> {
        let built = self.propose(0, blobs)?;
        self.decide(built)
    }

    /// Builds what the proposer of `round` proposes at the next height; the chain stays where it is.
    ///
    /// # Errors
    /// [`MakeError::Propose`].
    pub fn propose(&self, round: u64, blobs: u64) -> Result<BuiltProposal, MakeError> {
        Ok(self.proposer.build(&self.tip, round, blobs)?)
    }

    /// Decides a proposal for the next height by the signatures of all its validators.
    ///
    /// # Errors
    /// [`MakeError::Certificate`] if it does not attach to the tip.
    pub fn decide(&mut self, built: BuiltProposal) -> Result<Block, MakeError> {
        let BuiltProposal { proposal, next } = built;
        let members = self.spec().members(next.link.height).to_vec();
        let decided = self.verify(self.decided_by(&proposal.value, proposal.round, &members)?)?;
        self.tip = next;
        Ok(Block { decided, value: proposal.value, payload: proposal.payload, blobs: proposal.blobs })
    }

    /// The value with precommits of the validators with indices `signers`, who may be too few, or no members at all.
    /// Unknown indices are left out.
    ///
    /// # Errors
    /// [`MakeError::TooManySignatures`].
    pub fn decided_by(
        &self,
        value: &IdentifiedValue,
        round: u64,
        signers: &[usize],
    ) -> Result<DecidedValue, MakeError> {
        let (height, id) = (value.value().height, *value.id());
        let keys = signers.iter().filter_map(|index| self.keys.get(*index));
        let signatures = keys.map(|key| self.precommit(key, height, round, value)).collect();
        let certificate: CommitCertificate =
            certificate(height, round, id, signatures).ok_or(MakeError::TooManySignatures)?;
        Ok(DecidedValue { value: (**value.value()).clone(), certificate })
    }

    fn precommit(&self, key: &ValidatorKey, height: Height, round: u64, value: &IdentifiedValue) -> CommitSignature {
        key.sign(self.spec().genesis_id(), VoteKind::Precommit, height, round, *value.id())
    }

    /// Checks a decided value against the tip, as a node does.
    fn verify(&self, decided: DecidedValue) -> Result<Verified<DecidedValue>, CertificateFault> {
        let spec = self.spec();
        let signers = spec.validator_set(decided.value.height);
        decided.verify(&spec.genesis_id(), spec.genesis().max_blobs_per_block, &self.tip.link, signers)
    }
}

#[cfg(test)]
mod tests;
