//! Committing decided values: certificate by certificate, in order, the good prefix of a batch in one transaction.

use std::{collections::VecDeque, ops::Range};

use lapis_protocol_spec::{Bytes32, CertificateFault, ChainLink, DecidedValue, Height, ValidatorSet, Verified};
use lapis_storage::{Decided, Store, StoreError};
use libp2p::PeerId;

use crate::{chain::Chain, decide::store_decided};

/// Values from one peer, in order, not yet verified.
#[derive(Debug)]
pub(super) struct FetchedValues {
    pub(super) peer: PeerId,
    pub(super) values: Vec<DecidedValue>,
}

impl FetchedValues {
    /// The heights, if there are any.
    pub(super) fn heights(&self) -> Option<Range<Height>> {
        let (first, last) = (self.values.first()?, self.values.last()?);
        Some(first.value.height..last.value.height.saturating_add(1))
    }
}

/// Why a batch was not committed to its end.
#[derive(Debug)]
pub(super) enum Obstacle {
    /// A value is not what the chain decided. The peer's fault.
    Fault { height: Height, fault: CertificateFault },
    /// The set that signs is not known yet.
    UnknownSet(Bytes32),
}

/// Result of committing one batch.
#[derive(Debug)]
pub(super) struct Committed {
    pub(super) peer: PeerId,
    /// Number of blobs of each value that is certified.
    pub(super) blobs: Vec<usize>,
    /// What the store did.
    pub(super) decided: Decided,
    pub(super) obstacle: Option<Obstacle>,
    /// Values from the obstacle on.
    pub(super) rest: Vec<DecidedValue>,
}

/// Verifies `fetched` against the store's tip and stores what holds. Blocks on signatures and disk.
pub(super) fn commit(store: &Store, chain: &Chain, fetched: FetchedValues) -> Result<Committed, StoreError> {
    let FetchedValues { peer, values } = fetched;
    let mut tip = store.tip()?;
    let mut signers: Option<(Bytes32, ValidatorSet)> = None;
    let mut verified = Vec::with_capacity(values.len());
    let mut obstacle = None;
    // What was decided by other means meanwhile is not news.
    let decided = tip.height;
    let mut rest = values.into_iter().skip_while(|value| value.value.height <= decided).collect::<VecDeque<_>>();
    while let Some(next) = rest.front() {
        let root = tip.next_validators_root;
        if signers.as_ref().is_none_or(|(known, _)| *known != root) {
            signers = store.validator_set(&root)?.map(|set| (root, set));
        }
        let Some((_, set)) = &signers else {
            obstacle = Some(Obstacle::UnknownSet(root));
            break;
        };
        match verify(next.clone(), chain, &tip, set) {
            Ok(value) => {
                tip = ChainLink::after(&value.value, *value.value_id());
                verified.push(value);
                rest.pop_front();
            }
            Err(fault) => {
                obstacle = Some(fault);
                break;
            }
        }
    }
    let decided = store_decided(store, &verified)?;
    let blobs = verified.iter().map(|value| value.value.blob_count()).collect();
    Ok(Committed { peer, blobs, decided, obstacle, rest: rest.into() })
}

fn verify(
    decided: DecidedValue,
    chain: &Chain,
    tip: &ChainLink,
    signers: &ValidatorSet,
) -> Result<Verified<DecidedValue>, Obstacle> {
    let height = decided.value.height;
    let max_blobs = chain.genesis().max_blobs_per_block;
    decided.verify(chain.id(), max_blobs, tip, signers).map_err(|fault| Obstacle::Fault { height, fault })
}

/// What an announcement is worth.
#[derive(Debug)]
pub(super) enum Judgement {
    /// Certified by the set that signs next: forward it.
    Certified,
    /// Nothing can be said about it, or it is old: neither forward nor punish.
    Unknown,
    /// Its certificate does not hold.
    Invalid(CertificateFault),
}

/// Checks an announced value's certificate. Blocks on signatures and disk.
///
/// Only the set that signs the next height is believed: a set that signed long ago may have lost its keys since.
pub(super) fn judge(store: &Store, chain: &Chain, decided: &DecidedValue) -> Result<Judgement, StoreError> {
    let tip = store.tip()?;
    let root = tip.next_validators_root;
    if decided.value.height <= tip.height || decided.value.validators_root != root {
        return Ok(Judgement::Unknown);
    }
    let signers = match store.validator_set(&root) {
        Ok(Some(signers)) => signers,
        Ok(None) | Err(StoreError::Damaged(_)) => return Ok(Judgement::Unknown),
        Err(error) if error.may_pass() => return Ok(Judgement::Unknown),
        Err(error) => return Err(error),
    };
    Ok(match decided.check_certificate(chain.id(), &signers) {
        Ok(_) => Judgement::Certified,
        Err(fault) => Judgement::Invalid(fault),
    })
}
