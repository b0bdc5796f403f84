//! What a devnet run is asked to be.

use std::{num::NonZeroU64, path::PathBuf, time::Duration};

use lapis_protocol_spec::MAX_BLOBS_PER_BLOCK;

use super::clients::{ClientOptions, EngineEndpoint};

/// Most validators: each is a node with a store of its own.
pub const MAX_VALIDATORS: usize = 32;
/// The follower and the late node.
const NODES_BESIDE_VALIDATORS: usize = 2;

/// What `lapis devnet` was asked for.
#[derive(Clone, Debug)]
pub struct DevnetOptions {
    /// Where the nodes live; a temporary directory that is removed afterwards if `None`.
    pub dir: Option<PathBuf>,
    /// Number of validators, each with a node.
    pub validators: usize,
    /// Heights to decide.
    pub heights: NonZeroU64,
    /// Blobs per height.
    pub blobs: u64,
    /// Time from one height to the next.
    pub block_time: Duration,
    /// Whether the nodes go on running after the summary.
    pub keep_running: bool,
    /// Execution clients that build the blocks and that nodes import into; `None` for blocks without state and the
    /// embedded engine.
    pub clients: Option<ClientOptions>,
}

impl Default for DevnetOptions {
    fn default() -> Self {
        Self {
            dir: None,
            validators: 4,
            heights: NonZeroU64::MIN.saturating_add(63),
            blobs: 6,
            block_time: Duration::from_millis(200),
            keep_running: false,
            clients: None,
        }
    }
}

/// An option that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionsFault {
    /// No validators, or too many for one process.
    #[error("--validators is {0}, must be 1 to {MAX_VALIDATORS}")]
    Validators(usize),
    /// More blobs than a value can name.
    #[error("--blobs is {0}, a height holds at most {MAX_BLOBS_PER_BLOCK}")]
    Blobs(u64),
    /// Not one secret, and not one for each client.
    #[error("--jwt-secret is given {secrets} times for {clients} clients: give it once, or once for each")]
    Secrets {
        /// Secrets.
        secrets: usize,
        /// Clients.
        clients: usize,
    },
    /// More clients than nodes.
    #[error("--engine-url is given {clients} times, there are {nodes} nodes")]
    Clients {
        /// Clients.
        clients: usize,
        /// Nodes: validators, the follower and the late one.
        nodes: usize,
    },
}

impl DevnetOptions {
    /// Checks the options.
    ///
    /// # Errors
    /// The first [`OptionsFault`] found.
    pub fn check(&self) -> Result<(), OptionsFault> {
        if !(1..=MAX_VALIDATORS).contains(&self.validators) {
            return Err(OptionsFault::Validators(self.validators));
        }
        if self.blobs > MAX_BLOBS_PER_BLOCK as u64 {
            return Err(OptionsFault::Blobs(self.blobs));
        }
        let nodes = self.validators.saturating_add(NODES_BESIDE_VALIDATORS);
        match self.clients.as_ref().map_or(0, |clients| clients.engines.len()) {
            clients if clients > nodes => Err(OptionsFault::Clients { clients, nodes }),
            _ => Ok(()),
        }
    }

    /// The client of the node with this index: validators come first, then the follower, then the late node.
    pub fn engine(&self, index: usize) -> Option<&EngineEndpoint> {
        self.clients.as_ref()?.engines.get(index)
    }

    /// The height at which the late node joins: when half the heights are decided.
    pub fn late_from(&self) -> u64 {
        self.heights.get().div_ceil(2)
    }
}
