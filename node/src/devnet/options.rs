//! What a devnet run is asked to be.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU64,
    path::PathBuf,
    time::Duration,
};

use lapis_protocol_spec::{Height, MAX_BLOBS_PER_BLOCK};

use super::clients::{ClientOptions, EngineEndpoint};

/// Most validators: each is a node with a store of its own.
pub const MAX_VALIDATORS: usize = 32;
/// Most sets of validators in one run.
const MAX_VALIDATOR_SETS: u64 = 10_000;
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
    /// After how many heights the validators change, each time; `None` for the same ones all the time. Each set is all
    /// validators but one, who is another one each time.
    pub validator_change: Option<NonZeroU64>,
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
            validator_change: None,
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
    /// Nobody could leave.
    #[error("--validator-change needs two validators or more")]
    NobodyLeaves,
    /// More sets than one process should hold.
    #[error(
        "--validator-change {every} makes {sets} sets of {heights} heights, at most {MAX_VALIDATOR_SETS} are possible"
    )]
    TooManySets {
        /// Heights of one set.
        every: NonZeroU64,
        /// Sets.
        sets: u64,
        /// Heights in all.
        heights: NonZeroU64,
    },
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
        self.check_validator_change()?;
        let nodes = self.validators.saturating_add(NODES_BESIDE_VALIDATORS);
        match self.clients.as_ref().map_or(0, |clients| clients.engines.len()) {
            clients if clients > nodes => Err(OptionsFault::Clients { clients, nodes }),
            _ => Ok(()),
        }
    }

    fn check_validator_change(&self) -> Result<(), OptionsFault> {
        let Some(every) = self.validator_change else { return Ok(()) };
        if self.validators < 2 {
            return Err(OptionsFault::NobodyLeaves);
        }
        match self.heights.get().div_ceil(every.get()) {
            sets if sets > MAX_VALIDATOR_SETS => Err(OptionsFault::TooManySets { every, sets, heights: self.heights }),
            _ => Ok(()),
        }
    }

    /// The validators that sign from a height on, by index: all of them at first, then all but one, in turns.
    pub fn members_from(&self) -> BTreeMap<Height, BTreeSet<usize>> {
        let Some(every) = self.validator_change else { return BTreeMap::new() };
        let starts = (1..=self.heights.get()).step_by(usize::try_from(every.get()).unwrap_or(usize::MAX)).skip(1);
        let leaving = (0..self.validators).cycle();
        starts
            .zip(leaving)
            .map(|(start, leaving)| (start, (0..self.validators).filter(|index| *index != leaving).collect()))
            .collect()
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn options(validators: usize, heights: u64, every: u64) -> DevnetOptions {
        let heights = heights.try_into().unwrap();
        DevnetOptions { validators, heights, validator_change: NonZeroU64::new(every), ..DevnetOptions::default() }
    }

    #[test]
    fn another_validator_is_left_out_each_time() {
        let sets = options(3, 10, 2).members_from();
        let expected = [(3, vec![1, 2]), (5, vec![0, 2]), (7, vec![0, 1]), (9, vec![1, 2])];
        assert_eq!(sets, expected.map(|(height, members)| (height, BTreeSet::from_iter(members))).into());
        assert!(options(3, 10, 10).members_from().is_empty());
        assert!(options(3, 10, u64::MAX).members_from().is_empty());
        assert!(DevnetOptions::default().members_from().is_empty());
    }

    #[test]
    fn changes_that_cannot_be_are_refused() {
        assert_eq!(options(1, 10, 2).check(), Err(OptionsFault::NobodyLeaves));
        assert!(matches!(options(4, 10_001, 1).check(), Err(OptionsFault::TooManySets { sets: 10_001, .. })));
        assert_eq!(options(4, 10_000, 1).check(), Ok(()));
    }
}
