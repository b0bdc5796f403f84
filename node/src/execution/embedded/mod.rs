//! An execution engine without an execution client.
//!
//! It accepts a block when payload and requests are the ones that the decided value names ([`ImportBlock::checked`]) and
//! it extends the head: the parent is the head, the block number is one more, the timestamp is strictly greater. It
//! executes nothing, so it cannot know whether a state root is right.
//!
//! [`next_head`] is the whole decision, as a pure function; [`Embedded`] owns the head and moves it.

mod head;
#[cfg(test)]
mod tests;

use alloy_primitives::B256;
use futures::future::{BoxFuture, FutureExt, ready};
use lapis_protocol_spec::Height;

pub use self::head::{Head, HeadFormatError};
use super::{
    engine::{ExecutionEngine, Habits, ImportBlock, InvalidBlock, PayloadStatus, Standing, Unavailability},
    payload::{BlockFault, CheckedPayload},
    requests::RequestsFault,
};
use crate::joined::joined;

/// Why the embedded engine does not take a block.
#[derive(Debug, thiserror::Error)]
pub enum ImportFault {
    /// The block is not that of the next height; the caller's order is wrong, not the block.
    #[error("head is at height {head}, the block offered is at {offered}")]
    OutOfOrder {
        /// Height of the head.
        head: Height,
        /// Height of the block.
        offered: Height,
    },
    /// The payload is not the block that the decided value names.
    #[error("height {height}: the payload is not the decided block")]
    Block {
        /// Height of the value.
        height: Height,
        /// How it differs.
        source: BlockFault,
    },
    /// The execution requests are not those that the decided value names.
    #[error("height {height}: the execution requests are not the decided ones")]
    Requests {
        /// Height of the value.
        height: Height,
        /// How they differ.
        source: RequestsFault,
    },
    /// The parent is not the head.
    #[error("height {height}: parent is block {got}, the head is {expected}")]
    ParentLink {
        /// Height of the value.
        height: Height,
        /// Hash of the head.
        expected: B256,
        /// Parent hash of the block.
        got: B256,
    },
    /// The block number does not follow the head's.
    #[error("height {height}: block number is {got} after {head}")]
    BlockNumber {
        /// Height of the value.
        height: Height,
        /// Number of the head.
        head: u64,
        /// Number of the block.
        got: u64,
    },
    /// The timestamp is not after the head's.
    #[error("height {height}: timestamp {got} is not after {head}")]
    Timestamp {
        /// Height of the value.
        height: Height,
        /// Timestamp of the head in seconds.
        head: u64,
        /// Timestamp of the block in seconds.
        got: u64,
    },
}

impl From<ImportFault> for PayloadStatus {
    /// Sorts faults by whose they are: the caller's order, local data, or what the chain decided.
    fn from(fault: ImportFault) -> Self {
        match fault {
            ImportFault::OutOfOrder { head, offered } => {
                Self::Unavailable(Unavailability::OutOfOrder { head, offered })
            }
            ImportFault::Block { ref source, .. } if source.is_uncertified_bytes() => Self::Uncertified(fault),
            ImportFault::Requests { source: RequestsFault::BeforePrague { .. }, .. } => {
                Self::Invalid(InvalidBlock::Fault(fault))
            }
            ImportFault::Requests { .. } => Self::Uncertified(fault),
            ImportFault::Block { .. }
            | ImportFault::ParentLink { .. }
            | ImportFault::BlockNumber { .. }
            | ImportFault::Timestamp { .. } => Self::Invalid(InvalidBlock::Fault(fault)),
        }
    }
}

/// Decides whether `block` extends `head`, and what the head is then. The head itself may be offered again.
///
/// The cost is that of [`ImportBlock::checked`].
///
/// # Errors
/// The first [`ImportFault`] found, cheap checks first.
pub fn next_head(head: &Head, block: &ImportBlock) -> Result<Head, ImportFault> {
    let expected = block.expected();
    let height = expected.height;
    if height == head.height && expected.block_hash == head.block_hash {
        block.checked()?;
        return Ok(*head);
    }
    if head.height.checked_add(1) != Some(height) {
        return Err(ImportFault::OutOfOrder { head: head.height, offered: height });
    }
    if expected.parent_block_hash != head.block_hash {
        return Err(ImportFault::ParentLink { height, expected: head.block_hash, got: expected.parent_block_hash });
    }
    if expected.timestamp <= head.timestamp {
        return Err(ImportFault::Timestamp { height, head: head.timestamp, got: expected.timestamp });
    }
    let payload = block.checked()?;
    if head.block_number.checked_add(1) != Some(payload.block_number()) {
        return Err(ImportFault::BlockNumber { height, head: head.block_number, got: payload.block_number() });
    }
    Ok(head_of(height, payload))
}

/// The head that `block` is when its ancestors are taken on trust: the start from a trusted checkpoint, or from a height
/// that was imported while no engine kept a head.
///
/// # Errors
/// [`ImportFault::Block`] and [`ImportFault::Requests`].
pub fn head_at(block: &ImportBlock) -> Result<Head, ImportFault> {
    block.checked().map(|payload| head_of(block.expected().height, payload))
}

fn head_of(height: Height, payload: &CheckedPayload) -> Head {
    Head {
        height,
        block_hash: payload.block_hash(),
        block_number: payload.block_number(),
        timestamp: payload.timestamp(),
    }
}

/// The embedded engine. Owns the head in memory; the importer stores it with the watermark.
#[derive(Clone, Copy, Debug)]
pub struct Embedded {
    head: Head,
}

impl Embedded {
    /// An engine whose last block is `head`: [`Head::genesis`], a stored one, or one from [`head_at`].
    #[must_use]
    pub fn new(head: Head) -> Self {
        Self { head }
    }
}

impl ExecutionEngine for Embedded {
    fn name(&self) -> &'static str {
        "embedded"
    }

    fn habits(&self) -> Habits {
        Habits { checks_blocks: true, is_separate: false }
    }

    fn head(&self) -> Option<Head> {
        Some(self.head)
    }

    fn standing(&mut self) -> BoxFuture<'_, Result<Standing, Unavailability>> {
        ready(Ok(Standing::AtWatermark)).boxed()
    }

    fn has_block(&mut self, block_hash: B256) -> BoxFuture<'_, Result<bool, Unavailability>> {
        ready(Ok(block_hash == self.head.block_hash)).boxed()
    }

    /// A block is the head as soon as it is taken.
    fn forkchoice_updated(&mut self, _block_hash: B256) -> BoxFuture<'_, PayloadStatus> {
        ready(PayloadStatus::Valid { head: Some(self.head) }).boxed()
    }

    /// Needs a Tokio runtime for a block that nobody has checked yet: hashing a payload of up to 32 MiB is work for its
    /// blocking threads.
    fn new_payload<'a>(&'a mut self, block: &'a ImportBlock) -> BoxFuture<'a, PayloadStatus> {
        async move {
            let head = self.head;
            let decided = if block.is_checked() {
                next_head(&head, block)
            } else {
                let block = block.clone();
                let deciding = tokio::task::spawn_blocking(move || next_head(&head, &block));
                let Some(decided) = joined(deciding).await else {
                    return PayloadStatus::Unavailable(Unavailability::Stopping);
                };
                decided
            };
            match decided {
                Ok(head) => {
                    self.head = head;
                    PayloadStatus::Valid { head: Some(head) }
                }
                Err(fault) => fault.into(),
            }
        }
        .boxed()
    }
}
