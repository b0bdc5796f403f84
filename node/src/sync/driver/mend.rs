//! Mending: a damaged value, certificate or validator set, held against what the rest of the store says, and written again.

use std::collections::BTreeMap;

use lapis_p2p::Offence;
use lapis_protocol_spec::{Bytes32, CertificateFault, ChainLink, DecidedValue, Height, ValidatorSet};
use lapis_storage::{Reader, Store, StoreError};

use super::{SyncEngine, SyncError};
use crate::{
    chain::Chain,
    repair::Lost,
    sync::scheduler::{Input, Mend, SourceId},
};

/// What came to take a damaged row's place.
#[derive(Debug)]
pub(super) struct Replacement {
    /// The value of the height asked for, at most.
    pub(super) values: Vec<DecidedValue>,
    /// Validator sets that came with it, by root.
    pub(super) sets: BTreeMap<Bytes32, ValidatorSet>,
    /// The set with the root asked for.
    pub(super) set: Option<ValidatorSet>,
}

/// What became of it.
#[derive(Debug)]
pub(super) enum MendOutcome {
    /// The row can be read.
    Mended,
    /// It is not what the chain decided. The source's fault.
    Untrue(SourceId, CertificateFault),
    /// It cannot be told before another row is mended.
    Waits(Mend),
}

impl SyncEngine {
    /// Something was dropped or cannot be read: it is to be fetched.
    pub(super) fn on_lost(&mut self, lost: Lost) {
        match lost {
            Lost::Data(height) => self.inform(Input::ReloadFrom(height)),
            Lost::Value(height) => self.inform(Input::WantMend(Mend::Value(height))),
            Lost::ValidatorSet(root) => self.inform(Input::WantMend(Mend::ValidatorSet(root))),
        }
    }

    /// Looks at what came, off the loop.
    pub(super) fn start_mend(&mut self, mend: Mend, source: SourceId, replacement: Replacement) {
        let (store, chain) = (self.parts.store.clone(), self.parts.chain.clone());
        self.mends.spawn_blocking(move || {
            let Replacement { values, sets, set } = replacement;
            let outcome = match (values.into_iter().next(), set) {
                (Some(decided), _) => mend_value(&store, &chain, source, decided, &sets),
                (None, Some(set)) => store.insert_validator_set(&set).map(|()| MendOutcome::Mended),
                (None, None) => Ok(MendOutcome::Waits(mend)),
            };
            (mend, outcome)
        });
    }

    pub(super) async fn on_mended(
        &mut self,
        (mend, outcome): (Mend, Result<MendOutcome, StoreError>),
    ) -> Result<(), SyncError> {
        match outcome {
            Ok(MendOutcome::Mended) => {
                tracing::info!(?mend, "a damaged row was fetched again and is whole");
                self.parts.metrics.store.mended(&mend);
                self.parts.feed.refresh();
                self.unreadable_until = None;
                self.inform(Input::Mended(mend));
                if let Mend::ValidatorSet(root) = mend {
                    self.inform(Input::HaveValidatorSet(root));
                    self.judge_kept().await;
                }
            }
            Ok(MendOutcome::Untrue(source, fault)) => {
                tracing::warn!(%source, ?mend, %fault, "a value that is not certified");
                self.blame(source, Offence::InvalidData).await;
                if let Mend::Value(height) = mend {
                    self.inform(Input::FaultyValue { source, height });
                }
                self.inform(Input::NotMended(mend));
            }
            Ok(MendOutcome::Waits(other)) => {
                tracing::warn!(?mend, ?other, "a damaged row waits for another one");
                self.inform(Input::WantMend(other));
                self.inform(Input::NotMended(mend));
            }
            Err(error) if error.is_fatal() && !error.may_pass() => return Err(error.into()),
            Err(error) => {
                tracing::error!(?mend, %error, "a damaged row cannot be mended now");
                self.inform(Input::NotMended(mend));
            }
        }
        Ok(())
    }
}

/// Verifies `decided` against its neighbours in the store, and writes it again. Blocks on signatures and disk.
fn mend_value(
    store: &Store,
    chain: &Chain,
    source: SourceId,
    decided: DecidedValue,
    offered: &BTreeMap<Bytes32, ValidatorSet>,
) -> Result<MendOutcome, StoreError> {
    let link = match link(&store.reader()?, chain, store.tip()?, &decided)? {
        Link::Known(link) => link,
        Link::OtherValue => return Ok(MendOutcome::Untrue(source, CertificateFault::CertificateValue)),
        Link::Unreadable(neighbour) => return Ok(MendOutcome::Waits(Mend::Value(neighbour))),
    };
    let root = link.next_validators_root;
    let signers = match store.validator_set(&root) {
        Ok(Some(set)) => set,
        Ok(None) | Err(StoreError::Damaged(_)) => match offered.get(&root) {
            Some(set) => {
                store.insert_validator_set(set)?;
                set.clone()
            }
            None => return Ok(MendOutcome::Waits(Mend::ValidatorSet(root))),
        },
        Err(error) => return Err(error),
    };
    match decided.verify(chain.id(), chain.genesis().max_blobs_per_block, &link, &signers) {
        Ok(verified) => store.mend_decided(&verified).map(|_| MendOutcome::Mended),
        Err(fault) => Ok(MendOutcome::Untrue(source, fault)),
    }
}

/// What a value of a decided height must attach to.
enum Link {
    Known(ChainLink),
    /// Another value was decided at its height.
    OtherValue,
    /// The neighbour at this height would tell, and is damaged itself.
    Unreadable(Height),
}

/// What `decided` must attach to: the value before it, or genesis. Where that one cannot be read, or was never held, the
/// value after it, or the tip, names the one that was decided, and so all that this one says is certified.
fn link(reader: &Reader, chain: &Chain, tip: ChainLink, decided: &DecidedValue) -> Result<Link, StoreError> {
    let value = &decided.value;
    let (before, after) = (value.height.saturating_sub(1), value.height.saturating_add(1));
    if before == 0 {
        return Ok(Link::Known(ChainLink::genesis(chain.genesis())));
    }
    let neighbour = match reader.identified_value(before) {
        Ok(Some(parent)) => return Ok(Link::Known(ChainLink::after(parent.value(), *parent.id()))),
        Ok(None) => after,
        Err(StoreError::Damaged(_)) => before,
        Err(error) => return Err(error),
    };
    let certified = match reader.identified_value(after) {
        _ if tip.height == value.height => tip.value_id,
        Ok(Some(child)) => child.value().parent_value_id,
        Ok(None) | Err(StoreError::Damaged(_)) => return Ok(Link::Unreadable(neighbour)),
        Err(error) => return Err(error),
    };
    if certified != value.id() {
        return Ok(Link::OtherValue);
    }
    Ok(Link::Known(ChainLink {
        height: before,
        value_id: value.parent_value_id,
        next_validators_root: value.validators_root,
        block_hash: value.parent_block_hash,
        timestamp: value.timestamp.saturating_sub(1),
    }))
}
