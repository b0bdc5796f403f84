//! Why a node does not start.

use std::{io, path::PathBuf};

use lapis_protocol_spec::Height;
use lapis_storage::{OpenError, StoreError};

use crate::{
    checkpoint::CheckpointError,
    execution::{
        HeadFormatError, ImportFault,
        engine_api::{EngineApiError, JwtSecretError},
    },
    http,
    object_archive::ObjectError,
};

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The network cannot start.
    #[error("{0}")]
    Network(#[from] lapis_p2p::StartError),
    /// HTTP cannot start.
    #[error("{0}")]
    Http(#[from] http::BindError),
    /// The store cannot be opened.
    #[error("{store}: {source}")]
    Open {
        /// Where it is.
        store: String,
        /// Why.
        source: OpenError,
    },
    /// The node cannot start from the value that its operator trusts.
    #[error("{0}")]
    Checkpoint(#[from] CheckpointError),
    /// The node was asked to stop before it had started.
    #[error("stopped before the node had started")]
    Stopped,
    /// A place for archives cannot be used.
    #[error("{0}")]
    Archive(#[from] ObjectError),
    /// The trace cannot be recorded.
    #[error("sync.record_trace {path}: {source}")]
    Trace {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The execution client's secret cannot be used.
    #[error("{0}")]
    JwtSecret(#[from] JwtSecretError),
    /// The way to the execution client cannot be set up.
    #[error("{0}")]
    EngineApi(#[from] EngineApiError),
    /// The configuration names no execution client, or no secret.
    #[error("engine.kind = \"engine-api\" needs engine.url and engine.jwt_secret")]
    NoEngineUrl,
    /// The store cannot be read.
    #[error("the store cannot be read: {0}")]
    Store(#[from] StoreError),
    /// The engine's head in the store makes no sense.
    #[error("the engine's head in the store cannot be used: {0}")]
    EngineHead(#[from] HeadFormatError),
    /// The engine kept nothing, and the block that was imported last is not there to start from.
    #[error("the block at the imported height {0} is not in the store, so the embedded engine cannot go on from it")]
    NoImportedBlock(Height),
    /// The block that was imported last is not one that the embedded engine takes.
    #[error("the embedded engine cannot go on from the imported block: {0}")]
    ImportedBlock(#[from] ImportFault),
}
