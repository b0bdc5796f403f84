//! Why a devnet run ends early.

use std::{io, path::PathBuf};

use lapis_protocol_spec::{Height, KzgSetupError};
use lapis_storage::StoreError;
use tokio::task::JoinError;

use super::{
    clients::ClientsError, consensus::ConsensusError, network::MemberError, options::OptionsFault,
    proposal::ProposeError, spec::SpecError,
};

/// Why a devnet run ends early.
#[derive(Debug, thiserror::Error)]
pub enum DevnetError {
    /// The options make no sense.
    #[error("{0}")]
    Options(#[from] OptionsFault),
    /// The directory cannot be used.
    #[error("--dir {path}: {source}")]
    Dir {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The directory is in use.
    #[error("--dir {0} is not empty; name a new directory")]
    NotEmpty(PathBuf),
    /// The trusted setup.
    #[error("{0}")]
    Kzg(#[from] KzgSetupError),
    /// The execution clients.
    #[error("{0}")]
    Clients(#[from] ClientsError),
    /// The chain cannot be made.
    #[error("{0}")]
    Spec(#[from] SpecError),
    /// A proposal cannot be built.
    #[error("{0}")]
    Propose(#[from] ProposeError),
    /// A node does not start.
    #[error("node {name} does not start: {source}")]
    Member {
        /// Its name.
        name: String,
        /// Why.
        source: Box<MemberError>,
    },
    /// A node went down.
    #[error("node {name} went down: {reason}")]
    Down {
        /// Its name.
        name: String,
        /// Why.
        reason: String,
    },
    /// Consensus failed.
    #[error("consensus failed: {0}")]
    Consensus(#[from] ConsensusError),
    /// Nothing moves.
    #[error("{node} makes no progress: imported {imported} of {heights}, {status}")]
    Stuck {
        /// Its name.
        node: String,
        /// Its imported height.
        imported: Height,
        /// Heights to import.
        heights: Height,
        /// What it says of itself.
        status: String,
    },
    /// A task failed.
    #[error("a task failed: {0}")]
    Task(#[from] JoinError),
    /// A store cannot be read.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// Interrupted by a signal.
    #[error("interrupted")]
    Interrupted,
}

impl DevnetError {
    /// Whether the user's input is to blame, so that nothing was started.
    pub fn is_bad_input(&self) -> bool {
        matches!(self, Self::Options(_) | Self::Dir { .. } | Self::NotEmpty(_) | Self::Clients(_))
    }
}
