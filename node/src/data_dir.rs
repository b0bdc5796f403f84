//! A node's directory: what lies where, how it comes to be, what must hold before a node runs on it.
//!
//! ```text
//! D/config.toml    the configuration; written last, so that it marks a complete directory
//! D/genesis.json   the chain
//! D/node.key       the key (mode 0600)
//! D/store.redb     the store; made by the first run, locked by it while it runs
//! D/peers.json     what is known of peers; may be deleted while no node runs
//! D/evidence/      decided blocks that the execution engine refused; may be deleted
//! ```

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use lapis_protocol_spec::Genesis;
use libp2p::identity::Keypair;

use crate::{
    config::template,
    genesis_file::{self, GenesisFileError},
    keys::{self, KeyError},
};

const CONFIG: &str = "config.toml";
const GENESIS: &str = "genesis.json";
const KEY: &str = "node.key";
const STORE: &str = "store.redb";
const PEERS: &str = "peers.json";
const EVIDENCE: &str = "evidence";
/// Where `init` prepares the files.
const STAGING: &str = ".lapis-init";
/// What a new file system holds by itself.
const LOST_AND_FOUND: &str = "lost+found";

/// An initialised directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataDir {
    root: PathBuf,
}

/// Why a directory cannot be made or used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// No such directory.
    #[error("no such directory: {0}; `lapis init --dir {0} --genesis FILE` makes one")]
    Missing(PathBuf),
    /// Something else than a directory.
    #[error("{0} is not a directory")]
    NotADirectory(PathBuf),
    /// `init` was not run, or did not finish.
    #[error("{0} is not initialised: it has no {CONFIG}; `lapis init --dir {0} --genesis FILE` makes one")]
    NotInitialised(PathBuf),
    /// `init` on a directory that has been initialised.
    #[error("{0} is initialised already; nothing was changed")]
    Initialised(PathBuf),
    /// `init` on a directory that holds something.
    #[error("{dir} is not empty: it holds {found}; nothing was changed")]
    NotEmpty {
        /// The directory.
        dir: PathBuf,
        /// Name of something in it.
        found: String,
    },
    /// The operating system refused.
    #[error("cannot {action} {path}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The genesis is wrong.
    #[error(transparent)]
    Genesis(#[from] GenesisFileError),
    /// The genesis cannot be written down.
    #[error("chain_id is not UTF-8")]
    ChainId(#[from] std::str::Utf8Error),
    /// The key is wrong.
    #[error(transparent)]
    Key(#[from] KeyError),
}

impl DataDir {
    /// Makes `root` a node's directory for the chain in `genesis_path`, with a new key and the default configuration.
    ///
    /// Either all of it is there afterwards, or nothing was changed. The directory may exist if it is empty.
    ///
    /// # Errors
    /// [`DataDirError`]; the genesis is checked first.
    pub fn init(root: &Path, genesis_path: &Path) -> Result<Self, DataDirError> {
        Self::init_with(root, &genesis_file::load(genesis_path)?, &template::commented())
    }

    /// As [`DataDir::init`], with a genesis and the text of a configuration at hand.
    ///
    /// # Errors
    /// [`DataDirError`].
    pub fn init_with(root: &Path, genesis: &Genesis, config: &str) -> Result<Self, DataDirError> {
        let genesis = genesis_file::to_json(genesis)?;
        let existed = check_vacant(root)?;
        let result = populate(root, &genesis, config);
        if result.is_err() {
            retract(root, existed);
        }
        result.map(|()| Self { root: root.to_owned() })
    }

    /// Opens an initialised directory. Reads nothing yet.
    ///
    /// # Errors
    /// [`DataDirError::Missing`], [`DataDirError::NotADirectory`], [`DataDirError::NotInitialised`].
    pub fn open(root: &Path) -> Result<Self, DataDirError> {
        match fs::metadata(root) {
            Ok(found) if found.is_dir() => {}
            Ok(_) => return Err(DataDirError::NotADirectory(root.to_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(DataDirError::Missing(root.to_owned()));
            }
            Err(source) => return Err(io_error("open", root, source)),
        }
        let dir = Self { root: root.to_owned() };
        if !exists(&dir.config_path())? {
            return Err(DataDirError::NotInitialised(dir.root));
        }
        Ok(dir)
    }

    /// The directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The configuration.
    pub fn config_path(&self) -> PathBuf {
        self.root.join(CONFIG)
    }

    /// The chain.
    pub fn genesis_path(&self) -> PathBuf {
        self.root.join(GENESIS)
    }

    /// The key.
    pub fn key_path(&self) -> PathBuf {
        self.root.join(KEY)
    }

    /// The store.
    pub fn store_path(&self) -> PathBuf {
        self.root.join(STORE)
    }

    /// What is known of peers.
    pub fn peers_path(&self) -> PathBuf {
        self.root.join(PEERS)
    }

    /// The directory for evidence about decided blocks that the execution engine refused.
    #[must_use]
    pub fn evidence_path(&self) -> PathBuf {
        self.root.join(EVIDENCE)
    }

    /// Reads and checks the chain.
    ///
    /// # Errors
    /// [`GenesisFileError`].
    pub fn genesis(&self) -> Result<Genesis, GenesisFileError> {
        genesis_file::load(&self.genesis_path())
    }

    /// Reads the key.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn key(&self) -> Result<Keypair, KeyError> {
        keys::read(&self.key_path())
    }
}

/// Refuses a directory that holds anything; says whether it exists.
fn check_vacant(root: &Path) -> Result<bool, DataDirError> {
    let entries = match fs::read_dir(root) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            return Err(DataDirError::NotADirectory(root.to_owned()));
        }
        Err(source) => return Err(io_error("read", root, source)),
    };
    if exists(&root.join(CONFIG))? {
        return Err(DataDirError::Initialised(root.to_owned()));
    }
    for entry in entries {
        let name = entry.map_err(|source| io_error("read", root, source))?.file_name();
        if name != STAGING && name != LOST_AND_FOUND {
            return Err(DataDirError::NotEmpty { dir: root.to_owned(), found: name.to_string_lossy().into_owned() });
        }
    }
    Ok(true)
}

/// Writes all files into the staging directory, then moves them into place, the one that counts last.
fn populate(root: &Path, genesis: &str, config: &str) -> Result<(), DataDirError> {
    let staging = root.join(STAGING);
    // Left by a run that was killed: its content was never in use.
    remove_tree(&staging)?;
    fs::create_dir_all(&staging).map_err(|source| io_error("create", &staging, source))?;
    write_durably(&staging.join(GENESIS), genesis)?;
    keys::write_new(&staging.join(KEY), &keys::generate())?;
    write_durably(&staging.join(CONFIG), config)?;
    for name in [GENESIS, KEY, CONFIG] {
        let target = root.join(name);
        fs::rename(staging.join(name), &target).map_err(|source| io_error("create", &target, source))?;
    }
    remove_tree(&staging)?;
    sync_dir(root)
}

/// Takes back what [`populate`] did, by name: nothing of anyone else's. Best effort: the error that led here is the one
/// to tell.
fn retract(root: &Path, existed: bool) {
    let removed = [CONFIG, KEY, GENESIS]
        .iter()
        .try_for_each(|name| remove_file(&root.join(name)))
        .and_then(|()| remove_tree(&root.join(STAGING)))
        .and_then(|()| if existed { Ok(()) } else { remove_empty(root) });
    if let Err(error) = removed {
        tracing::warn!(error = &error as &dyn std::error::Error, "a failed init left something behind");
    }
}

fn write_durably(path: &Path, text: &str) -> Result<(), DataDirError> {
    fs::write(path, text)
        .and_then(|()| fs::File::open(path)?.sync_all())
        .map_err(|source| io_error("write", path, source))
}

fn sync_dir(path: &Path) -> Result<(), DataDirError> {
    fs::File::open(path).and_then(|dir| dir.sync_all()).map_err(|source| io_error("sync", path, source))
}

fn exists(path: &Path) -> Result<bool, DataDirError> {
    path.try_exists().map_err(|source| io_error("read", path, source))
}

fn remove_file(path: &Path) -> Result<(), DataDirError> {
    absent_is_fine(fs::remove_file(path)).map_err(|source| io_error("remove", path, source))
}

fn remove_tree(path: &Path) -> Result<(), DataDirError> {
    absent_is_fine(fs::remove_dir_all(path)).map_err(|source| io_error("remove", path, source))
}

fn remove_empty(path: &Path) -> Result<(), DataDirError> {
    absent_is_fine(fs::remove_dir(path)).map_err(|source| io_error("remove", path, source))
}

fn absent_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn io_error(action: &'static str, path: &Path, source: io::Error) -> DataDirError {
    DataDirError::Io { action, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests;
