//! Why a bench has no result. None of it is a peer's fault: all peers are our own.

use std::{io, path::PathBuf};

use lapis_protocol_spec::KzgSetupError;
use lapis_storage::{OpenError, StoreError};

use super::{options::OptionsFault, plain::PlainError};
use crate::{
    devnet::{chain_maker::MakeError, proposal::ProposeError, spec::SpecError},
    fetch::FetchError,
    genesis_file::GenesisFileError,
    node::StartError,
};

/// Why a bench has no result.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The options make no sense.
    #[error(transparent)]
    Options(#[from] OptionsFault),
    /// The directory cannot be used.
    #[error("cannot use {path}")]
    Dir {
        /// The directory, or something in it.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The trusted setup does not load.
    #[error(transparent)]
    Setup(#[from] KzgSetupError),
    /// No chain can be made.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// No block can be made.
    #[error(transparent)]
    Make(#[from] MakeError),
    /// No sample can be made.
    #[error(transparent)]
    Propose(#[from] ProposeError),
    /// The chain cannot be written down or read.
    #[error(transparent)]
    Genesis(#[from] GenesisFileError),
    /// A store does not open.
    #[error("the store does not open")]
    Open(#[from] OpenError),
    /// A store fails.
    #[error("the store failed")]
    Store(#[from] StoreError),
    /// Bytes could not be framed, or not be read back.
    #[error("framing does not give back what it was given")]
    Framing,
    /// Nothing could be measured: no blob was verified, no byte moved.
    #[error("{0}: nothing to measure came about")]
    Nothing(&'static str),
    /// A node does not start.
    #[error("the node does not start")]
    Start(#[from] Box<StartError>),
    /// A network does not start.
    #[error("the network does not start")]
    Network(#[from] lapis_p2p::StartError),
    /// A plain libp2p connection failed.
    #[error(transparent)]
    Plain(#[from] PlainError),
    /// A peer of our own could not be reached, or broke an exchange.
    #[error("serving failed")]
    Fetch(#[from] Box<FetchError>),
    /// A relay does not start.
    #[error("a relay does not start")]
    Relay(#[source] io::Error),
    /// A process does not start, does not answer, or has ended.
    #[error("the process that should {role}: {fault}")]
    Process {
        /// What it was to do.
        role: &'static str,
        /// What happened.
        fault: ProcessFault,
    },
    /// A task panicked.
    #[error(transparent)]
    Task(#[from] tokio::task::JoinError),
    /// A signal came.
    #[error("interrupted")]
    Interrupted,
}

/// What may happen to a process.
#[derive(Debug, thiserror::Error)]
pub enum ProcessFault {
    /// It could not be started, or its pipes are broken.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It ended without an answer; standard error says why.
    #[error("it ended without an answer")]
    Ended,
    /// It did not answer in time.
    #[error("it did not answer in time")]
    Silent,
    /// What it said makes no sense.
    #[error("it said something else: {0}")]
    Answer(#[from] serde_json::Error),
}

impl BenchError {
    /// Whether the input is to be changed, rather than that something failed.
    #[must_use]
    pub const fn is_bad_input(&self) -> bool {
        matches!(self, Self::Options(_) | Self::Dir { .. })
    }
}
