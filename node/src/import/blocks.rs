//! Blocks from the store, one of them read and checked ahead of time.

use std::sync::Arc;

use alloy_primitives::B256;
use lapis_protocol_spec::Height;
use lapis_storage::{ForImport, Store, StoreError, Watermarks};
use tokio::task::JoinHandle;

use super::ImportError;
use crate::{
    chain::Chain,
    execution::{ForkSchedule, ImportBlock, UnsupportedFork},
    repair::RepairRequests,
};

/// What was found in the store.
pub(super) enum Found {
    /// The block.
    Block(ImportBlock),
    /// It cannot be read as a whole now: a row is damaged, and will be fetched again, or the disk fails.
    Unreadable,
    /// The value is of a fork that no payload of a blob chain can have.
    Unsupported(UnsupportedFork),
}

/// Reads blocks for an engine. At most two payloads are in memory: one that is used and one that comes next.
pub(super) struct Blocks {
    pub(super) chain: Chain,
    pub(super) store: Store,
    pub(super) repairs: RepairRequests,
    /// Whether blocks are checked where they are read.
    pub(super) check: bool,
    pub(super) ahead: Option<(Height, JoinHandle<Result<Found, StoreError>>)>,
}

impl Blocks {
    /// The block of `height`.
    pub(super) async fn get(&mut self, height: Height, marks: &Watermarks) -> Result<Found, ImportError> {
        let task = match self.ahead.take() {
            Some((at, task)) if at == height => task,
            other => {
                self.ahead = other;
                self.drain().await;
                self.read(height, marks)
            }
        };
        match task.await? {
            Ok(found) => Ok(found),
            Err(StoreError::Damaged(damage)) => {
                self.repairs.report(damage);
                Ok(Found::Unreadable)
            }
            Err(error) if error.may_pass() => {
                tracing::warn!(height, %error, "cannot read the next height to import");
                Ok(Found::Unreadable)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Begins with the block of `height`, which will probably be asked for next.
    pub(super) fn prepare(&mut self, height: Height, marks: &Watermarks) {
        if height <= marks.available && self.ahead.is_none() {
            self.ahead = Some((height, self.read(height, marks)));
        }
    }

    /// Waits until nothing reads the store any more.
    pub(super) async fn drain(&mut self) {
        if let Some((_, task)) = self.ahead.take() {
            // What was read is not needed, and neither is why it could not be.
            let _ = task.await;
        }
    }

    fn read(&self, height: Height, marks: &Watermarks) -> JoinHandle<Result<Found, StoreError>> {
        let (store, check, imported) = (self.store.clone(), self.check, marks.imported);
        let forks = ForkSchedule::from(self.chain.genesis());
        tokio::task::spawn_blocking(move || {
            // Blobs are not needed for what was imported once: they may have been pruned.
            let found = if height > imported { store.get_for_import(height)? } else { payload_of(&store, height)? };
            let Some(found) = found else { return Ok(Found::Unreadable) };
            Ok(match ImportBlock::new(&found.decided.value, &found.payload, forks) {
                Ok(block) => {
                    if check {
                        // The engine asks for the proof again, and judges the fault if there is one.
                        let _ = block.checked();
                    }
                    Found::Block(block)
                }
                Err(unsupported) => Found::Unsupported(unsupported),
            })
        })
    }

    /// Hash of the execution block of `height`; at 0 that of the block before the first one.
    pub(super) async fn hash(&self, height: Height) -> Result<BlockHash, ImportError> {
        if height == 0 {
            return Ok(BlockHash::Known(B256::new(self.chain.genesis().execution_block_hash.0)));
        }
        let store = self.store.clone();
        let hash = tokio::task::spawn_blocking(move || block_hash(&store, height)).await?;
        match hash {
            Ok(hash) => Ok(hash.map_or(BlockHash::NotYet, BlockHash::Known)),
            Err(StoreError::Damaged(damage)) => {
                self.repairs.report(damage);
                Ok(BlockHash::Unreadable)
            }
            Err(error) if error.may_pass() => Ok(BlockHash::Unreadable),
            Err(error) => Err(error.into()),
        }
    }

    /// The height of the block with this hash and this number in the execution chain, if it can be told. Numbers are
    /// heights where the execution chain began with block 0; otherwise only the height imported last is looked at.
    pub(super) async fn height_of(
        &self,
        block_hash: B256,
        block_number: u64,
        marks: &Watermarks,
    ) -> Result<Option<Height>, ImportError> {
        for height in [block_number, marks.imported] {
            if height <= marks.decided && self.hash(height).await? == BlockHash::Known(block_hash) {
                return Ok(Some(height));
            }
        }
        Ok(None)
    }

    /// Moves the watermark, with what is to be kept for the engine.
    pub(super) async fn mark_imported(&self, height: Height, head: Option<Arc<[u8]>>) -> Result<Outcome, ImportError> {
        let store = self.store.clone();
        let saved = tokio::task::spawn_blocking(move || store.mark_imported(height, head.as_deref())).await?;
        Outcome::of(saved, height)
    }
}

/// What is known of a height's execution block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BlockHash {
    Known(B256),
    /// The store began after this height, and the value after it, which names it, is not there yet.
    NotYet,
    /// It cannot be read now.
    Unreadable,
}

/// What came of moving the watermark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Done,
    /// Not now: the height has become incomplete since a damaged row of it was dropped, or the disk fails.
    Later,
}

impl Outcome {
    fn of(saved: Result<Watermarks, StoreError>, height: Height) -> Result<Self, ImportError> {
        use lapis_storage::Conflict;
        match saved {
            Ok(_) | Err(StoreError::Conflict(Conflict::NotNextImport { .. })) => Ok(Self::Done),
            Err(StoreError::Conflict(Conflict::NotAvailable { .. })) => Ok(Self::Later),
            Err(error) if error.may_pass() => {
                tracing::warn!(height, %error, "the imported height cannot be noted");
                Ok(Self::Later)
            }
            Err(error) => Err(error.into()),
        }
    }
}

fn payload_of(store: &Store, height: Height) -> Result<Option<ForImport>, StoreError> {
    let reader = store.reader()?;
    let Some(payload) = reader.payload(height)? else { return Ok(None) };
    Ok(reader.decided_value(height)?.map(|decided| ForImport { decided, payload }))
}

/// Out of the value, or out of the one after it, which names it as the parent.
fn block_hash(store: &Store, height: Height) -> Result<Option<B256>, StoreError> {
    let reader = store.reader()?;
    if let Some(found) = reader.identified_value(height)? {
        return Ok(Some(B256::new(found.value().block_hash.0)));
    }
    let after = reader.identified_value(height.saturating_add(1))?;
    Ok(after.map(|after| B256::new(after.value().parent_block_hash.0)))
}
