//! The trait through which the importer hands decided blocks to an execution engine.

use std::{
    error::Error,
    fmt,
    sync::{Arc, OnceLock},
};

use alloy_primitives::B256;
use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt, ready};
use lapis_protocol_spec::{Height, PayloadEnvelope, Value};

use super::{
    embedded::{Head, ImportFault},
    fork::{ForkSchedule, UnsupportedFork},
    payload::{CheckedPayload, ExpectedBlock, check_payload},
    requests::check_requests,
};

/// One decided block with its data, ready for import. Clones share the data, and the proof that it was checked.
#[derive(Clone, Debug)]
pub struct ImportBlock {
    expected: Arc<ExpectedBlock>,
    payload: Bytes,
    execution_requests: Vec<Bytes>,
    /// Filled by the first check that succeeds.
    checked: Arc<OnceLock<CheckedPayload>>,
}

impl ImportBlock {
    /// Joins a decided value with the envelope that was stored for it.
    ///
    /// # Errors
    /// [`UnsupportedFork`] for a value that is older than Cancun.
    pub fn new(value: &Value, envelope: &PayloadEnvelope, forks: ForkSchedule) -> Result<Self, UnsupportedFork> {
        let requests = envelope.execution_requests.iter().map(|request| request.as_bytes().clone()).collect();
        Ok(Self::of(ExpectedBlock::from_value(value, forks)?, envelope.payload.as_bytes().clone(), requests))
    }

    /// Joins what is expected with what is held: SSZ `ExecutionPayloadV3`, and EIP-7685 requests with the type byte
    /// first in each. Nothing is known of them yet.
    #[must_use]
    pub fn of(expected: ExpectedBlock, payload: Bytes, execution_requests: Vec<Bytes>) -> Self {
        Self { expected: Arc::new(expected), payload, execution_requests, checked: Arc::default() }
    }

    /// What the decided value says.
    #[must_use]
    pub fn expected(&self) -> &ExpectedBlock {
        &self.expected
    }

    /// SSZ `ExecutionPayloadV3`.
    #[must_use]
    pub fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// EIP-7685 requests, the type byte first in each.
    #[must_use]
    pub fn execution_requests(&self) -> &[Bytes] {
        &self.execution_requests
    }

    /// Whether [`ImportBlock::checked`] has succeeded, so that it costs nothing any more.
    #[must_use]
    pub fn is_checked(&self) -> bool {
        self.checked.get().is_some()
    }

    /// The payload, proven to be the block that the decided value names, together with its requests.
    ///
    /// The first call costs what [`check_payload`] costs and is work for a blocking thread; later ones cost nothing.
    ///
    /// # Errors
    /// [`ImportFault::Block`] and [`ImportFault::Requests`].
    pub fn checked(&self) -> Result<&CheckedPayload, ImportFault> {
        if let Some(checked) = self.checked.get() {
            return Ok(checked);
        }
        let height = self.expected.height;
        check_requests(&self.execution_requests, &self.expected)
            .map_err(|source| ImportFault::Requests { height, source })?;
        let checked =
            check_payload(&self.payload, &self.expected).map_err(|source| ImportFault::Block { height, source })?;
        Ok(self.checked.get_or_init(|| checked))
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
        /// All of its answer, as JSON.
        answer: String,
    },
}

impl InvalidBlock {
    /// All of the client's answer, if a client was asked.
    #[must_use]
    pub fn answer(&self) -> Option<&str> {
        match self {
            Self::Fault(_) => None,
            Self::Client { answer, .. } => Some(answer),
        }
    }
}

/// Sorts of failures of an engine to answer. None of them says anything about the chain, or about a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Trouble {
    /// Nobody listens there, or the connection broke.
    Unreachable,
    /// It did not answer in time.
    TimedOut,
    /// It does not accept our credentials.
    Unauthorized,
    /// It says that it failed.
    Failing,
    /// What answers does not speak the Engine API.
    Incomprehensible,
    /// It does not do what it is asked to, and says why: the two do not fit together.
    Refusing,
    /// The block is not the one after the engine's head.
    OutOfOrder,
    /// This node is shutting down.
    Stopping,
}

impl Trouble {
    /// Every sort.
    pub const ALL: [Self; 8] = [
        Self::Unreachable,
        Self::TimedOut,
        Self::Unauthorized,
        Self::Failing,
        Self::Incomprehensible,
        Self::Refusing,
        Self::OutOfOrder,
        Self::Stopping,
    ];

    /// Name in JSON, metrics and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::TimedOut => "timed_out",
            Self::Unauthorized => "unauthorized",
            Self::Failing => "failing",
            Self::Incomprehensible => "incomprehensible",
            Self::Refusing => "refusing",
            Self::OutOfOrder => "out_of_order",
            Self::Stopping => "stopping",
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
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
    /// The client behind the engine failed.
    #[error("{source}")]
    Client {
        /// What sort of failure it is.
        trouble: Trouble,
        /// What happened.
        source: Box<dyn Error + Send + Sync>,
    },
}

impl Unavailability {
    /// What sort of failure it is.
    #[must_use]
    pub fn trouble(&self) -> Trouble {
        match self {
            Self::OutOfOrder { .. } => Trouble::OutOfOrder,
            Self::Stopping => Trouble::Stopping,
            Self::Client { trouble, .. } => *trouble,
        }
    }
}

/// Where an engine stands when it is asked for the first time, or again after it did not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It keeps no chain but the one that it is given: it stands where the import watermark does.
    AtWatermark,
    /// A client's head.
    Head {
        /// Hash of the block.
        block_hash: B256,
        /// Its number in the execution chain.
        block_number: u64,
    },
    /// A client that does not tell which blocks it has.
    Untold,
}

/// How an engine wants to be driven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Habits {
    /// Whether blocks are checked against their decided values before they are offered. The importer then does so ahead
    /// of time, while the engine is busy with the block before.
    pub checks_blocks: bool,
    /// Whether the engine is a program of its own, which may lose what it had, and be gone without being told.
    pub is_separate: bool,
}

/// Takes decided blocks in the order of their heights.
///
/// The two calls of an import are those of the Engine API: [`new_payload`](Self::new_payload) for each block, and
/// [`forkchoice_updated`](Self::forkchoice_updated) for the last of one or several. A height counts as imported once the
/// second was answered with [`PayloadStatus::Valid`] for it or for a height above it.
///
/// An engine is owned by the importer alone. Each call may be dropped at any point and made again: offering a block that
/// the engine has is right and answers [`PayloadStatus::Valid`], so a crash between the engine's answer and the commit of
/// the watermark loses nothing.
pub trait ExecutionEngine: Send {
    /// Name in configuration, logs and metrics.
    fn name(&self) -> &'static str;

    /// How it wants to be driven.
    fn habits(&self) -> Habits;

    /// The last block the engine has taken, if it is the importer that has to keep it.
    fn head(&self) -> Option<Head>;

    /// Finds out whether the engine is there and where it stands.
    fn standing(&mut self) -> BoxFuture<'_, Result<Standing, Unavailability>>;

    /// Whether the engine has the block with this hash.
    fn has_block(&mut self, block_hash: B256) -> BoxFuture<'_, Result<bool, Unavailability>>;

    /// Offers a block whose parent the engine should have.
    fn new_payload<'a>(&'a mut self, block: &'a ImportBlock) -> BoxFuture<'a, PayloadStatus>;

    /// Makes the block with this hash the head. It is decided, so it is safe and final as well.
    fn forkchoice_updated(&mut self, block_hash: B256) -> BoxFuture<'_, PayloadStatus>;
}

/// The engine of a data node (`none`): nothing is executed or linked, so import follows what is available.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoEngine;

impl ExecutionEngine for NoEngine {
    fn name(&self) -> &'static str {
        "none"
    }

    fn habits(&self) -> Habits {
        Habits { checks_blocks: false, is_separate: false }
    }

    fn head(&self) -> Option<Head> {
        None
    }

    fn standing(&mut self) -> BoxFuture<'_, Result<Standing, Unavailability>> {
        ready(Ok(Standing::AtWatermark)).boxed()
    }

    fn has_block(&mut self, _block_hash: B256) -> BoxFuture<'_, Result<bool, Unavailability>> {
        ready(Ok(true)).boxed()
    }

    fn new_payload<'a>(&'a mut self, _block: &'a ImportBlock) -> BoxFuture<'a, PayloadStatus> {
        ready(PayloadStatus::Valid { head: None }).boxed()
    }

    fn forkchoice_updated(&mut self, _block_hash: B256) -> BoxFuture<'_, PayloadStatus> {
        ready(PayloadStatus::Valid { head: None }).boxed()
    }
}
