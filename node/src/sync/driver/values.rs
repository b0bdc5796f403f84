//! Decided values on their way: fetched in ranges, committed in order.

use std::{ops::Range, time::Instant};

use lapis_p2p::Offence;
use lapis_protocol_spec::{Height, ValidatorSet};
use lapis_storage::StoreError;

use super::{
    SyncEngine, SyncError,
    commit::{Committed, FetchedValues, Obstacle, UnknownSet, commit, unknown_set},
    mend::Replacement,
};
use crate::sync::{
    fetch::Fetched,
    scheduler::{Ended, Input},
};

impl SyncEngine {
    pub(super) async fn on_fetched(&mut self, fetched: Fetched) -> Result<(), SyncError> {
        let Fetched { id, source, report, values, sets, validator_set, offence } = fetched;
        self.cancels.remove(&id);
        if let Some((offence, reason)) = offence {
            tracing::info!(%source, ?offence, %reason, "an exchange went wrong");
            self.blame(source, offence).await;
        }
        match (self.scheduler.take(Input::Finished { id, report }, Instant::now()), validator_set) {
            (Ended::Mend(mend), set) => self.start_mend(mend, source, Replacement { values, sets, set }),
            (Ended::Values(heights), _) if !values.is_empty() => {
                self.fetched.insert(heights.start, FetchedValues { source, values, sets });
            }
            (Ended::Other, Some(set)) => self.keep_validator_set(set).await?,
            (Ended::Values(_) | Ended::Other, _) => {}
        }
        Ok(())
    }

    async fn keep_validator_set(&mut self, set: ValidatorSet) -> Result<(), SyncError> {
        let store = self.parts.store.clone();
        let insert = move || store.insert_validator_set(&set).map(|()| set.root());
        let stored = tokio::task::spawn_blocking(insert).await?;
        if let Some(root) = self.unless_it_passes(stored)? {
            self.inform(Input::HaveValidatorSet(root));
            self.judge_kept().await;
        }
        Ok(())
    }

    /// Sees to it that the set that signs the next height is there before anything that it signs: a node may have
    /// stopped before it came.
    pub(super) async fn want_next_signers(&mut self) -> Result<(), SyncError> {
        let store = self.parts.store.clone();
        let unknown = tokio::task::spawn_blocking(move || unknown_set(&store)).await?;
        if let Some(Some(unknown)) = self.unless_it_passes(unknown)? {
            self.want_validator_set(unknown);
        }
        Ok(())
    }

    /// Wants a set, unless the height that it signs was decided by other means.
    pub(super) fn want_validator_set(&mut self, UnknownSet { root, height }: UnknownSet) {
        if height == self.parts.feed.current().decided.saturating_add(1) {
            self.inform(Input::WantValidatorSet { root, height });
        }
    }

    pub(super) async fn on_commit_ended(&mut self, ended: Result<Committed, StoreError>) -> Result<(), SyncError> {
        if let Some(committed) = self.unless_it_passes(ended)? {
            self.on_committed(committed).await;
        }
        Ok(())
    }

    async fn on_committed(&mut self, committed: Committed) {
        let Committed { source, blobs, decided: stored, obstacle, next_signers, rest } = committed;
        self.parts.metrics.store.decided(&blobs, &stored);
        if source.is_archive() {
            self.parts.metrics.sync.archived_values(blobs.len());
        }
        self.parts.feed.refresh();
        let decided = self.parts.feed.current().decided;
        self.inform(Input::Decided(decided));
        if !blobs.is_empty() {
            self.progress.moved(Instant::now());
        }
        match next_signers {
            Ok(root) => self.inform(Input::HaveValidatorSet(root)),
            Err(unknown) => self.want_validator_set(unknown),
        }
        match obstacle {
            Some(Obstacle::UnknownSet) => drop(self.fetched.insert(decided.saturating_add(1), rest)),
            Some(Obstacle::Fault { height, fault }) => {
                tracing::warn!(%source, height, %fault, "a value that is not certified");
                self.blame(source, Offence::InvalidData).await;
                self.inform(Input::FaultyValue { source, height });
            }
            None => {}
        }
    }

    /// Commits the batch that attaches to the tip, one at a time.
    pub(super) fn start_commit(&mut self) {
        if !self.commits.is_empty() || self.kept.is_being_judged() {
            return;
        }
        let wanted = self.scheduler.wanted_validator_set();
        let decided = self.parts.feed.current().decided;
        let Some(entry) = self.fetched.first_entry().filter(|entry| *entry.key() <= decided.saturating_add(1)) else {
            return;
        };
        if wanted.is_some_and(|root| !entry.get().sets.contains_key(&root)) {
            return;
        }
        let fetched = entry.remove();
        self.committing = fetched.heights();
        let (store, chain) = (self.parts.store.clone(), self.parts.chain.clone());
        self.commits.spawn_blocking(move || commit(&store, &chain, fetched));
    }

    /// Ranges of values that are here and not in the store.
    pub(super) fn held_values(&self) -> Vec<Range<Height>> {
        let committing = self.committing.clone().filter(|_| !self.commits.is_empty());
        committing.into_iter().chain(self.fetched.values().filter_map(FetchedValues::heights)).collect()
    }
}
