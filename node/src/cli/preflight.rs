//! Everything that can be found wrong before a node starts.

use std::env;

use lapis_protocol_spec::Genesis;
use libp2p::identity::Keypair;

use super::{CliError, args::Override};
use crate::{
    config::{ConfigError, Layers, Loaded},
    data_dir::DataDir,
};

/// What a node needs from its directory, read and checked. Nothing was written.
#[derive(Debug)]
pub struct Preflight {
    /// The directory.
    pub dir: DataDir,
    /// The chain.
    pub genesis: Genesis,
    /// The identity.
    pub key: Keypair,
    /// The configuration with its origins.
    pub loaded: Loaded,
}

/// Reads and checks what is in `dir`, with `overrides` over file and environment.
///
/// # Errors
/// [`CliError`] for the first thing that is wrong; all of them are bad input.
pub fn preflight(dir: DataDir, overrides: &[Override]) -> Result<Preflight, CliError> {
    let loaded = load(&dir, overrides)?;
    let genesis = dir.genesis()?;
    loaded.check_against(&genesis)?;
    let key = dir.key()?;
    Ok(Preflight { dir, genesis, key, loaded })
}

/// The configuration of `dir` with the environment and `overrides` over it.
pub(super) fn load(dir: &DataDir, overrides: &[Override]) -> Result<Loaded, ConfigError> {
    let mut layers = Layers::new().file(&dir.config_path())?.environment(env::vars_os())?;
    for given in overrides {
        layers = layers.given(given.group, given.key, &given.values, given.origin.clone())?;
    }
    layers.finish()
}
