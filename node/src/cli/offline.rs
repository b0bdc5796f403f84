//! A node's directory opened to work on its store, while no node runs on it.

use std::{
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};

use lapis_protocol_spec::Kzg;
use lapis_storage::{OpenError, Store, StoreConfig};

use super::{CliError, preflight};
use crate::{
    chain::Chain,
    config::{Config, Loaded},
    data_dir::DataDir,
    node,
};

/// A store, the chain that it is of, and how its node is configured.
#[derive(Debug)]
pub(super) struct Offline {
    pub(super) store: Store,
    pub(super) chain: Chain,
    loaded: Loaded,
}

/// What to do where no node has run yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IfAbsent {
    /// Make an empty store.
    Create,
    /// There is nothing to work on.
    Refuse,
}

/// Why a store cannot be worked on. Nothing was changed.
#[derive(Debug, thiserror::Error)]
enum OfflineError {
    #[error("there is no store yet: {0}")]
    Absent(PathBuf),
    #[error("the store is already open: {0}; stop the node that runs on it")]
    InUse(PathBuf),
    #[error("{path}: {source}")]
    Open { path: PathBuf, source: OpenError },
}

impl Offline {
    /// Opens the store in the node's directory `root`.
    pub(super) fn open(root: &Path, if_absent: IfAbsent) -> Result<Self, CliError> {
        let dir = DataDir::open(root)?;
        let loaded = preflight::load(&dir, &[])?;
        let genesis = dir.genesis()?;
        let path = dir.store_path();
        if if_absent == IfAbsent::Refuse && !path.exists() {
            return Err(CliError::bad_input(OfflineError::Absent(path)));
        }
        let store = Store::open(&path, &genesis, store_config(&loaded.config)).map_err(|error| refused(path, error))?;
        Ok(Self { store, chain: Chain::new(genesis), loaded })
    }

    /// Loads the trusted setup of the node. Takes about a second.
    pub(super) fn kzg(&self) -> Result<Arc<Kzg>, CliError> {
        node::load_kzg(&self.loaded.config.trusted_setup).map_err(CliError::bad_input)
    }

    /// Threads that verify: as configured, or one per core.
    pub(super) fn threads(&self) -> NonZeroUsize {
        NonZeroUsize::new(self.loaded.config.verify.threads)
            .or_else(|| thread::available_parallelism().ok())
            .unwrap_or(NonZeroUsize::MIN)
    }
}

/// A store that is somebody else's is for the operator to sort out; one that cannot be read has failed.
fn refused(path: PathBuf, error: OpenError) -> CliError {
    match error {
        OpenError::Locked => CliError::bad_input(OfflineError::InUse(path)),
        source @ (OpenError::NewerSchema { .. } | OpenError::OtherChain { .. } | OpenError::NotAStore) => {
            CliError::bad_input(OfflineError::Open { path, source })
        }
        source @ (OpenError::Io(_) | OpenError::Damaged(_) | OpenError::Database(_)) => {
            CliError::failed(OfflineError::Open { path, source })
        }
    }
}

fn store_config(config: &Config) -> StoreConfig {
    StoreConfig {
        cache_bytes: usize::try_from(config.storage.cache.as_u64()).unwrap_or(usize::MAX),
        undecided_bytes: config.storage.undecided_cap.as_u64(),
        undecided_ttl: config.storage.undecided_ttl,
    }
}
