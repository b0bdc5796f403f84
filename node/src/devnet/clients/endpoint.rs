//! The clients that a devnet is given, before anything is built on them.

use std::{fs, io, path::PathBuf, time::Duration};

use lapis_protocol_spec::MAX_BLOBS_PER_BLOCK;
use reqwest::Url;

use super::{ClientFault, calls};
use crate::{
    devnet::{
        execution_genesis::{ExecutionGenesis, ExecutionGenesisError},
        spec::DevnetParams,
    },
    execution::{
        ParentBlock,
        engine_api::{CallObserver, EngineApi, EngineApiError, EngineApiSettings, JwtSecret, JwtSecretError},
    },
};

/// Time for a client to begin a block, which it may have to execute the parent for.
const PAYLOAD_TIMEOUT: Duration = Duration::from_secs(8);
/// Time for any other answer. The first transaction with blobs makes some clients load the trusted setup.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// A client's Engine API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineEndpoint {
    /// Its URL.
    pub url: String,
    /// File with the secret that signs tokens for it.
    pub jwt_secret: PathBuf,
}

/// The clients of a devnet, and what they were started with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientOptions {
    /// One for each of the first nodes: validators, then the follower, then the late node.
    pub engines: Vec<EngineEndpoint>,
    /// The genesis file that all of them were started with.
    pub genesis: PathBuf,
}

/// Why a devnet cannot be built on the clients that it was given.
#[derive(Debug, thiserror::Error)]
pub enum ClientsError {
    /// The genesis file cannot be read.
    #[error("cannot read execution genesis {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is not a genesis that a devnet can be built on.
    #[error("execution genesis {path}")]
    Genesis {
        /// The file.
        path: PathBuf,
        /// Why.
        source: ExecutionGenesisError,
    },
    /// Not a URL.
    #[error("--engine-url {0:?} is not a URL such as http://127.0.0.1:8551")]
    Url(String),
    /// A secret cannot be used.
    #[error(transparent)]
    Secret(#[from] JwtSecretError),
    /// The system has no room for an HTTP client.
    #[error("no HTTP client")]
    Http(#[source] EngineApiError),
    /// A client does not say what its block 0 is.
    #[error("{url}")]
    Client {
        /// Its Engine API.
        url: String,
        /// Why.
        source: ClientFault,
    },
    /// A client was started with another genesis.
    #[error("{url} was not started with the execution genesis: its block 0 is {}, of {}; expected {}, of {}", found.0, found.1, expected.0, expected.1)]
    OtherGenesis {
        /// Its Engine API.
        url: String,
        /// Hash and timestamp of its block 0.
        found: (alloy_primitives::B256, u64),
        /// Hash of the first client's block 0, and the timestamp that the genesis says.
        expected: (alloy_primitives::B256, u64),
    },
}

/// What clients agree on.
#[derive(Clone, Debug)]
pub struct Agreed {
    /// The genesis.
    pub genesis: ExecutionGenesis,
    /// Its block 0, as the clients have computed it.
    pub block: ParentBlock,
}

impl ClientOptions {
    /// Asks every client for its block 0. `None` without clients.
    ///
    /// # Errors
    /// [`ClientsError`].
    pub async fn agree(&self) -> Result<Option<Agreed>, ClientsError> {
        let path = || self.genesis.clone();
        let json = fs::read(&self.genesis).map_err(|source| ClientsError::Read { path: path(), source })?;
        let genesis =
            ExecutionGenesis::parse(&json).map_err(|source| ClientsError::Genesis { path: path(), source })?;
        let mut first: Option<ParentBlock> = None;
        for engine in &self.engines {
            let block = engine.genesis().await?;
            let expected = (first.map_or(block.hash, |first| first.hash), genesis.genesis_time);
            let found = (block.hash, block.timestamp);
            if found != expected {
                return Err(ClientsError::OtherGenesis { url: engine.url.clone(), found, expected });
            }
            first = first.or(Some(block));
        }
        Ok(first.map(|block| Agreed { genesis, block }))
    }
}

impl Agreed {
    /// A chain of `validators` validators that begins with the clients' block 0.
    #[must_use]
    pub fn params(&self, validators: usize) -> DevnetParams {
        DevnetParams {
            chain_id: self.genesis.chain_id,
            genesis_time: self.genesis.genesis_time,
            prague_time: self.genesis.forks.prague_time,
            max_blobs_per_block: self.genesis.max_blobs(),
            execution_genesis: Some(self.block),
            ..DevnetParams::new(validators)
        }
    }
}

impl EngineEndpoint {
    /// The way to it. Nothing is sent yet.
    ///
    /// # Errors
    /// [`ClientsError::Url`], [`ClientsError::Secret`], [`ClientsError::Http`].
    pub fn api(&self) -> Result<EngineApi, ClientsError> {
        let url = Url::parse(&self.url).map_err(|_| ClientsError::Url(self.url.clone()))?;
        let settings = EngineApiSettings {
            url,
            secret: JwtSecret::from_file(&self.jwt_secret)?,
            payload_timeout: PAYLOAD_TIMEOUT,
            call_timeout: CALL_TIMEOUT,
            max_blobs: MAX_BLOBS_PER_BLOCK,
        };
        EngineApi::new(settings, CallObserver::default()).map_err(ClientsError::Http)
    }

    /// Block 0 of its chain.
    ///
    /// # Errors
    /// As [`EngineEndpoint::api`], and [`ClientsError::Client`].
    pub async fn genesis(&self) -> Result<ParentBlock, ClientsError> {
        let asked = calls::genesis(&self.api()?).await;
        asked.map_err(|source| ClientsError::Client { url: self.url.clone(), source })
    }
}
