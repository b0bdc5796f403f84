//! The trait through which the importer hands decided blocks to an execution engine.

use std::{error::Error, sync::Arc};

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt, ready};
use lapis_protocol_spec::{Height, PayloadEnvelope, Value};

use super::{
    embedded::{Head, ImportFault},
    fork::{ForkSchedule, UnsupportedFork},
    payload::ExpectedBlock,
};

/// One decided block with its data, ready for import. Clones share the data.
#[derive(Clone, Debug)]
pub struct ImportBlock {
    /// What the decided value says.
    pub expected: Arc<ExpectedBlock>,
    /// SSZ `ExecutionPayloadV3`.
    pub payload: Bytes,
    /// EIP-7685 requests, the type byte first in each.
    pub execution_requests: Vec<Bytes>,
}

impl ImportBlock {
    /// Joins a decided value with the envelope that was stored for it.
    ///
    /// # Errors
    /// [`UnsupportedFork`] for a value that is older than Cancun.
    pub fn new(value: &Value, envelope: &PayloadEnvelope, forks: ForkSchedule) -> Result<Self, UnsupportedFork> {
        Ok(Self {
            expected: Arc::new(ExpectedBlock::from_value(value, forks)?),
            payload: envelope.payload.as_bytes().clone(),
            execution_requests: envelope.execution_requests.iter().map(|request| request.as_bytes().clone()).collect(),
        })
    }
}

/// What became of a block that was handed to an engine.
#[derive(Debug)]
pub enum PayloadStatus {
    /// The engine has the block and follows it; the import watermark may move to its height.
    Valid {
        /// The engine's new head, to be stored with the watermark; `None` where the engine keeps its own.
        head: Option<Head>,
    },
    /// The chain decided a block that cannot be valid. Import halts and keeps the evidence.
    Invalid(InvalidBlock),
    /// The data offered is not what the decided value names: a local row is damaged and has to be fetched again.
    Uncertified(ImportFault),
    /// The engine lacks the parent and fetches it by itself; offer the block again later.
    Syncing,
    /// The engine keeps the block on a side branch without having executed it; offer it again later.
    Accepted,
    /// The engine cannot answer now. Neither the chain's fault nor a peer's; offer the block again later.
    Unavailable(Unavailability),
}

/// Why a decided block is invalid.
#[derive(Debug, thiserror::Error)]
pub enum InvalidBlock {
    /// Found by the checks of this node.
    #[error("the decided block is invalid")]
    Fault(#[from] ImportFault),
    /// Found by an execution client, in its own words.
    #[error("the execution client rejects the decided block: {validation_error}")]
    Client {
        /// The client's `validationError`.
        validation_error: String,
    },
}

/// Why an engine cannot answer.
#[derive(Debug, thiserror::Error)]
pub enum Unavailability {
    /// The block is not the one after the head.
    #[error("the engine's head is at height {head}, the block offered is at {offered}")]
    OutOfOrder {
        /// Height of the engine's head.
        head: Height,
        /// Height of the block.
        offered: Height,
    },
    /// The engine's worker did not run, as happens during shutdown.
    #[error("the engine is shutting down")]
    Stopping,
    /// The client behind the engine failed: not reachable, not authorised, too slow, or an answer that makes no sense.
    #[error("the execution client does not answer")]
    Client(#[source] Box<dyn Error + Send + Sync>),
}

/// Takes decided blocks in the order of their heights.
///
/// An engine is owned by the importer alone. [`import`](Self::import) may be dropped at any point: the block then counts
/// as not imported, and offering it again is right. Offering the block that already is the head is right too and answers
/// [`PayloadStatus::Valid`], so a crash between the engine's answer and the commit of the watermark loses nothing.
pub trait ExecutionEngine: Send {
    /// Name in configuration, logs and metrics.
    fn name(&self) -> &'static str;

    /// The last block the engine follows, as far as it keeps track.
    fn head(&self) -> Option<Head>;

    /// Makes the block part of the execution chain and its new head.
    fn import<'a>(&'a mut self, block: &'a ImportBlock) -> BoxFuture<'a, PayloadStatus>;
}

/// The engine of a data node (`none`): nothing is executed or linked, so import follows what is available.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoEngine;

impl ExecutionEngine for NoEngine {
    fn name(&self) -> &'static str {
        "none"
    }

    fn head(&self) -> Option<Head> {
        None
    }

    fn import<'a>(&'a mut self, _block: &'a ImportBlock) -> BoxFuture<'a, PayloadStatus> {
        ready(PayloadStatus::Valid { head: None }).boxed()
    }
}
