//! Committing decided values in order, the good prefix of a batch in one transaction. The certificates that one validator
//! set signed in a row are verified together; a set is looked for, or kept, only once the value that names it holds.

use std::{
    collections::{BTreeMap, VecDeque},
    ops::Range,
};

use lapis_protocol_spec::{Bytes32, CertificateFault, ChainLink, DecidedValue, Height, ValidatorSet};
use lapis_storage::{Decided, Store, StoreError};
use libp2p::PeerId;
use rand_core::OsRng;

use crate::{chain::Chain, decide::store_decided, sync::scheduler::SourceId};

/// Values from one source, in order, not yet verified.
#[derive(Debug)]
pub(super) struct FetchedValues {
    pub(super) source: SourceId,
    pub(super) values: Vec<DecidedValue>,
    /// Validator sets that came with them, by root. None of them is used unless a certified value names it.
    pub(super) sets: BTreeMap<Bytes32, ValidatorSet>,
}

impl FetchedValues {
    /// A value that a peer announced.
    pub(super) fn announced(peer: PeerId, decided: DecidedValue) -> Self {
        Self { source: peer.into(), values: vec![decided], sets: BTreeMap::new() }
    }

    /// The heights, if there are any.
    pub(super) fn heights(&self) -> Option<Range<Height>> {
        let (first, last) = (self.values.first()?, self.values.last()?);
        Some(first.value.height..last.value.height.saturating_add(1))
    }
}

/// Why a batch was not committed to its end.
#[derive(Debug)]
pub(super) enum Obstacle {
    /// A value is not what the chain decided. The source's fault.
    Fault { height: Height, fault: CertificateFault },
    /// The set that signs is not known yet; see [`Committed::next_signers`].
    UnknownSet,
}

/// A validator set that is not in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct UnknownSet {
    pub(super) root: Bytes32,
    /// The height that it signs.
    pub(super) height: Height,
}

impl UnknownSet {
    fn after(tip: &ChainLink) -> Self {
        Self { root: tip.next_validators_root, height: tip.height.saturating_add(1) }
    }
}

/// The set that signs next, if it is not in `store`. A damaged row is as good as none.
pub(super) fn unknown_set(store: &Store) -> Result<Option<UnknownSet>, StoreError> {
    let unknown = UnknownSet::after(&store.tip()?);
    match store.validator_set(&unknown.root) {
        Ok(None) | Err(StoreError::Damaged(_)) => Ok(Some(unknown)),
        found => found.map(|_| None),
    }
}

/// Result of committing one batch.
#[derive(Debug)]
pub(super) struct Committed {
    pub(super) source: SourceId,
    /// Number of blobs of each value that is certified.
    pub(super) blobs: Vec<usize>,
    /// What the store did.
    pub(super) decided: Decided,
    pub(super) obstacle: Option<Obstacle>,
    /// The set that signs the next height: the root of one that is in the store, or what is to be found out.
    pub(super) next_signers: Result<Bytes32, UnknownSet>,
    /// Values from the obstacle on.
    pub(super) rest: FetchedValues,
}

/// Verifies `fetched` against the store's tip and stores what holds. Blocks on signatures and disk.
pub(super) fn commit(store: &Store, chain: &Chain, fetched: FetchedValues) -> Result<Committed, StoreError> {
    let FetchedValues { source, values, sets } = fetched;
    let mut tip = store.tip()?;
    let mut signers = Signers { store, offered: &sets, last: None };
    let mut verified = Vec::with_capacity(values.len());
    let mut obstacle = None;
    // What was decided by other means meanwhile is not news.
    let decided = tip.height;
    let mut rest = values.into_iter().skip_while(|value| value.value.height <= decided).collect::<VecDeque<_>>();
    let max_blobs = chain.genesis().max_blobs_per_block;
    while !rest.is_empty() {
        let Some(set) = signers.find(&tip.next_validators_root)? else {
            obstacle = Some(Obstacle::UnknownSet);
            break;
        };
        let run = DecidedValue::verify_run(&mut rest, chain.id(), max_blobs, &tip, set, &mut OsRng);
        if let Some(last) = run.verified.last() {
            tip = ChainLink::after(&last.value, *last.value_id());
        }
        verified.extend(run.verified);
        if let (Some(fault), Some(faulty)) = (run.fault, rest.front()) {
            obstacle = Some(Obstacle::Fault { height: faulty.value.height, fault });
            break;
        }
    }
    let decided = store_decided(store, &verified)?;
    // It came with the last of them, and will not come with the one after it.
    let next_signers = match signers.find(&tip.next_validators_root)? {
        Some(_) => Ok(tip.next_validators_root),
        None => Err(UnknownSet::after(&tip)),
    };
    let blobs = verified.iter().map(|value| value.value.blob_count()).collect();
    let rest = FetchedValues { source, values: rest.into(), sets };
    Ok(Committed { source, blobs, decided, obstacle, next_signers, rest })
}

/// The sets that sign, as certified values name them one after the other.
struct Signers<'a> {
    store: &'a Store,
    /// By root, which was computed from the set.
    offered: &'a BTreeMap<Bytes32, ValidatorSet>,
    last: Option<(Bytes32, ValidatorSet)>,
}

impl Signers<'_> {
    /// The set with this root, which a certified value names: from the store, or one that was offered, which is stored
    /// then. A damaged row is as good as none.
    fn find(&mut self, root: &Bytes32) -> Result<Option<&ValidatorSet>, StoreError> {
        if self.last.as_ref().is_none_or(|(known, _)| known != root) {
            self.last = match self.store.validator_set(root) {
                Ok(None) | Err(StoreError::Damaged(_)) => self.offered(root)?,
                found => found?,
            }
            .map(|set| (*root, set));
        }
        Ok(self.last.as_ref().map(|(_, set)| set))
    }

    fn offered(&self, root: &Bytes32) -> Result<Option<ValidatorSet>, StoreError> {
        let Some(set) = self.offered.get(root) else { return Ok(None) };
        self.store.insert_validator_set(set)?;
        Ok(Some(set.clone()))
    }
}

/// What an announcement is worth.
#[derive(Debug)]
pub(super) enum Judgement {
    /// Certified by the set that signs next: forward it.
    Certified,
    /// The set that signed it is not known yet: the one given, or one that a later value will name. It is of the next
    /// height or above, and attaches to the tip if it is of the next.
    Early(Option<UnknownSet>),
    /// Nothing can be said about it, or it is old: neither forward nor punish.
    Unknown,
    /// It does not attach to the tip, or its certificate does not hold.
    Invalid(CertificateFault),
}

/// Checks an announced value: all of it if it is of the next height, its certificate if it is further ahead. Blocks on
/// signatures and disk.
///
/// Only the set that signs the next height is believed: a set that signed long ago may have lost its keys since.
pub(super) fn judge(store: &Store, chain: &Chain, decided: &DecidedValue) -> Result<Judgement, StoreError> {
    let tip = store.tip()?;
    let root = tip.next_validators_root;
    let is_next = decided.value.height == tip.height.saturating_add(1);
    if decided.value.height <= tip.height {
        return Ok(Judgement::Unknown);
    }
    let attaches = if is_next { decided.value.check_link(&tip) } else { Ok(()) };
    if let Err(fault) = attaches {
        return Ok(Judgement::Invalid(fault));
    }
    if decided.value.validators_root != root {
        return Ok(Judgement::Early(None));
    }
    let signers = match store.validator_set(&root) {
        Ok(Some(signers)) => signers,
        Ok(None) | Err(StoreError::Damaged(_)) => {
            return Ok(Judgement::Early(Some(UnknownSet::after(&tip))));
        }
        Err(error) if error.may_pass() => return Ok(Judgement::Unknown),
        Err(error) => return Err(error),
    };
    Ok(match decided.check_certificate(chain.id(), &signers) {
        Ok(_) => Judgement::Certified,
        Err(fault) => Judgement::Invalid(fault),
    })
}
