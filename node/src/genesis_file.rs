//! The genesis as people write it: a JSON file.
//!
//! ```json
//! {
//!   "chain_id": "example-1",
//!   "genesis_time": 1750000000,
//!   "max_blobs_per_block": 6,
//!   "blob_retention_heights": 100000,
//!   "validators": [{ "public_key": "0x…32 bytes…", "power": 1 }],
//!   "execution_block_hash": "0x…32 bytes…",
//!   "cancun_time": 0,
//!   "prague_time": 0
//! }
//! ```
//!
//! Hex may stand with or without `0x`. Validators may stand in any order: the protocol's order is that of their
//! addresses, which nobody can be asked to compute. A field that is not known is refused, since a misspelt one would
//! silently make another chain.

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use lapis_protocol_spec::{
    ByteList, Bytes32, Genesis, Validator, ValidatorSet, ValidatorSetFault, genesis::GenesisFault,
};
use serde::{Deserialize, Serialize};

/// Largest genesis file that is read: 1024 validators take some 150 bytes each, the rest is a few lines.
pub const MAX_GENESIS_FILE_BYTES: u64 = 1024 * 1024;

/// Most bytes of a chain's name.
const MAX_CHAIN_ID_BYTES: usize = 64;

/// What is wrong with a genesis file.
#[derive(Debug, thiserror::Error)]
pub enum GenesisFileError {
    /// The file cannot be read.
    #[error("cannot read genesis file {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is larger than any genesis.
    #[error("genesis file {path} has more than {MAX_GENESIS_FILE_BYTES} bytes: that is no genesis")]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// The content is not a genesis.
    #[error("genesis file {path}")]
    Content {
        /// The file.
        path: PathBuf,
        /// Why.
        source: GenesisJsonError,
    },
}

/// What is wrong with the JSON form of a genesis.
#[derive(Debug, thiserror::Error)]
pub enum GenesisJsonError {
    /// Not JSON, a field missing, unknown or of the wrong type.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// The name is too long or empty.
    #[error("chain_id has {0} bytes, it must have 1 to {MAX_CHAIN_ID_BYTES}")]
    ChainId(usize),
    /// Two validators have the same key.
    #[error("validator {0} is listed twice")]
    DuplicateValidator(Bytes32),
    /// A validator without voting power.
    #[error("validator {0} has power 0, it must have at least 1")]
    NoPower(Bytes32),
    /// The validators do not make a set.
    #[error("validators: {0}")]
    Validators(ValidatorSetFault),
    /// The fields do not make a chain.
    #[error(transparent)]
    Rules(GenesisFault),
}

/// The JSON form. Integers are numbers, byte strings are hex.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object with the fields of a genesis")]
struct GenesisJson {
    chain_id: String,
    genesis_time: u64,
    max_blobs_per_block: u64,
    blob_retention_heights: u64,
    validators: Vec<ValidatorJson>,
    #[serde(with = "hex_bytes")]
    execution_block_hash: Bytes32,
    cancun_time: u64,
    prague_time: u64,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object with public_key and power")]
struct ValidatorJson {
    #[serde(with = "hex_bytes")]
    public_key: Bytes32,
    power: u64,
}

/// Reads and checks the genesis in the file at `path`.
///
/// # Errors
/// [`GenesisFileError`], each with the path.
pub fn load(path: &Path) -> Result<Genesis, GenesisFileError> {
    let text = read_bounded(path)?;
    parse(&text).map_err(|source| GenesisFileError::Content { path: path.to_owned(), source })
}

/// Parses and checks the JSON form.
///
/// # Errors
/// [`GenesisJsonError`] for the first thing that is wrong.
pub fn parse(json: &[u8]) -> Result<Genesis, GenesisJsonError> {
    let json: GenesisJson = serde_json::from_slice(json)?;
    let chain_id_bytes = json.chain_id.len();
    let chain_id = ByteList::new(json.chain_id.into_bytes())
        .filter(|name| !name.is_empty())
        .ok_or(GenesisJsonError::ChainId(chain_id_bytes))?;
    let genesis = Genesis {
        chain_id,
        genesis_time: json.genesis_time,
        max_blobs_per_block: json.max_blobs_per_block,
        blob_retention_heights: json.blob_retention_heights,
        validators: validator_set(json.validators)?,
        execution_block_hash: json.execution_block_hash,
        cancun_time: json.cancun_time,
        prague_time: json.prague_time,
    };
    genesis.check().map_err(GenesisJsonError::Rules)?;
    Ok(genesis)
}

/// The JSON form of `genesis`, for people: indented, with a newline at the end.
///
/// # Errors
/// If the chain's name is not UTF-8, which JSON cannot carry.
pub fn to_json(genesis: &Genesis) -> Result<String, std::str::Utf8Error> {
    let json = GenesisJson {
        chain_id: std::str::from_utf8(&genesis.chain_id)?.to_owned(),
        genesis_time: genesis.genesis_time,
        max_blobs_per_block: genesis.max_blobs_per_block,
        blob_retention_heights: genesis.blob_retention_heights,
        validators: genesis
            .validators
            .validators
            .iter()
            .map(|validator| ValidatorJson { public_key: validator.public_key, power: validator.power })
            .collect(),
        execution_block_hash: genesis.execution_block_hash,
        cancun_time: genesis.cancun_time,
        prague_time: genesis.prague_time,
    };
    // A struct of numbers and strings always has a JSON form.
    let mut text = serde_json::to_string_pretty(&json).unwrap_or_default();
    text.push('\n');
    Ok(text)
}

fn read_bounded(path: &Path) -> Result<Vec<u8>, GenesisFileError> {
    let failed = |source| GenesisFileError::Read { path: path.to_owned(), source };
    let file = fs::File::open(path).map_err(failed)?;
    let mut text = Vec::new();
    file.take(MAX_GENESIS_FILE_BYTES + 1).read_to_end(&mut text).map_err(failed)?;
    if text.len() as u64 > MAX_GENESIS_FILE_BYTES {
        return Err(GenesisFileError::TooLarge { path: path.to_owned() });
    }
    Ok(text)
}

fn validator_set(validators: Vec<ValidatorJson>) -> Result<ValidatorSet, GenesisJsonError> {
    let mut seen = std::collections::HashSet::new();
    for validator in &validators {
        if !seen.insert(validator.public_key) {
            return Err(GenesisJsonError::DuplicateValidator(validator.public_key));
        }
        if validator.power == 0 {
            return Err(GenesisJsonError::NoPower(validator.public_key));
        }
    }
    let members = validators
        .into_iter()
        .map(|validator| Validator { public_key: validator.public_key, power: validator.power })
        .collect();
    ValidatorSet::new(members).map_err(GenesisJsonError::Validators)
}

/// Serde for byte strings of fixed length, as hex.
pub(crate) mod hex_bytes {
    use std::borrow::Cow;

    use lapis_protocol_spec::FixedBytes;
    use serde::{
        Deserialize, Deserializer, Serializer,
        de::{Error, Unexpected},
    };

    pub(crate) fn serialize<const N: usize, S: Serializer>(
        bytes: &FixedBytes<N>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(bytes)
    }

    pub(crate) fn deserialize<'de, const N: usize, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<FixedBytes<N>, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        FixedBytes::from_hex(&text)
            .ok_or_else(|| D::Error::invalid_value(Unexpected::Str(&text), &format!("{N} bytes of hex").as_str()))
    }
}

#[cfg(test)]
mod tests;
