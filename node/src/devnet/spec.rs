//! What a development chain is: its genesis, its validators at every height, its execution blocks.
//!
//! A pure description. Everything in it follows from [`DevnetParams`], so a test and a node that agree on these agree on
//! the chain.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::B256;
use lapis_protocol_spec::{
    Address, ByteList, Bytes32, Genesis, Height, Validator, ValidatorSet, ValidatorSetFault, genesis::GenesisFault,
};

use super::keys::ValidatorKey;
use crate::execution::{
    BlobSchedule, BlockBuilder, BuildError, ForkSchedule, ParentBlock,
    builder::{Account, DEFAULT_BLOBS_PER_TRANSACTION},
};

/// What may be chosen about a development chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DevnetParams {
    /// EIP-155 id of the execution chain, also part of the chain's name.
    pub chain_id: u64,
    /// What keys and blobs are derived from.
    pub seed: [u8; 32],
    /// Voting power of each validator, by index.
    pub powers: Vec<u64>,
    /// Indices of the validators that sign from a height on. Heights before the first entry: all validators.
    pub members_from: BTreeMap<Height, BTreeSet<usize>>,
    /// Seconds since the Unix epoch; height `h` has the timestamp `genesis_time + h`.
    pub genesis_time: u64,
    /// Limit of blobs per height.
    pub max_blobs_per_block: u64,
    /// How many heights below the head every node keeps blobs for.
    pub blob_retention_heights: u64,
    /// When the execution chain goes from Cancun to Prague, in seconds; `u64::MAX` for never.
    pub prague_time: u64,
    /// Block 0 where execution clients build the blocks; `None` where [`BlockBuilder`] does.
    pub execution_genesis: Option<ParentBlock>,
}

impl DevnetParams {
    /// A chain of `validators` validators of equal power with room for 1024 blobs per height.
    #[must_use]
    pub fn new(validators: usize) -> Self {
        Self {
            chain_id: 1337,
            seed: [0; 32],
            powers: vec![1; validators],
            members_from: BTreeMap::new(),
            genesis_time: 1_700_000_000,
            max_blobs_per_block: 1024,
            blob_retention_heights: 1 << 20,
            prague_time: u64::MAX,
            execution_genesis: None,
        }
    }

    /// The keys of all validators, by index.
    #[must_use]
    pub fn keys(&self) -> Vec<ValidatorKey> {
        (0_u64..).zip(&self.powers).map(|(index, _)| ValidatorKey::derive(&self.seed, index)).collect()
    }
}

/// Why no chain can be made of the parameters.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    /// A set of validators is not a legal one.
    #[error("the validators from height {height} on: {source}")]
    Validators {
        /// First height of the set.
        height: Height,
        /// What is wrong with it.
        source: ValidatorSetFault,
    },
    /// A set names a validator that does not exist.
    #[error("the validators from height {height} on include {index}, which does not exist")]
    UnknownMember {
        /// First height of the set.
        height: Height,
        /// The index.
        index: usize,
    },
    /// The genesis is not a legal one.
    #[error(transparent)]
    Genesis(#[from] GenesisFault),
    /// The execution chain cannot start.
    #[error("the execution chain has no genesis: {0}")]
    Execution(#[from] BuildError),
}

/// The validators of a stretch of heights.
#[derive(Clone, Debug)]
struct Era {
    /// Indices, ascending; never empty.
    members: Vec<usize>,
    set: ValidatorSet,
    root: Bytes32,
}

/// A development chain's immutable definition.
#[derive(Clone, Debug)]
pub struct ChainSpec {
    genesis: Genesis,
    genesis_id: Bytes32,
    validators: Vec<Validator>,
    first_era: Era,
    /// By first height.
    later_eras: BTreeMap<Height, Era>,
    builder: BlockBuilder,
    execution_genesis: ParentBlock,
}

impl ChainSpec {
    /// Derives the chain.
    ///
    /// # Errors
    /// Every [`SpecError`].
    pub fn new(params: &DevnetParams) -> Result<Self, SpecError> {
        let validators: Vec<_> =
            params.keys().iter().zip(&params.powers).map(|(key, power)| key.validator(*power)).collect();
        let first_era = Era::new(1, (0..validators.len()).collect(), &validators)?;
        let later_eras = params
            .members_from
            .iter()
            .map(|(height, members)| Ok((*height, Era::new(*height, members.iter().copied().collect(), &validators)?)));
        let later_eras = later_eras.collect::<Result<BTreeMap<_, _>, SpecError>>()?;
        let signs_first = era_at(&first_era, &later_eras, 1).set.clone();
        let (builder, execution_genesis) = execution_chain(params)?;
        let genesis = genesis(params, signs_first, execution_genesis.hash);
        genesis.check()?;
        let genesis_id = genesis.id();
        Ok(Self { genesis, genesis_id, validators, first_era, later_eras, builder, execution_genesis })
    }

    /// The genesis.
    #[must_use]
    pub fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    /// The genesis' id.
    #[must_use]
    pub fn genesis_id(&self) -> Bytes32 {
        self.genesis_id
    }

    /// When the execution forks start.
    #[must_use]
    pub fn forks(&self) -> ForkSchedule {
        ForkSchedule::from(&self.genesis)
    }

    /// Builds the execution blocks.
    #[must_use]
    pub fn builder(&self) -> &BlockBuilder {
        &self.builder
    }

    /// Block 0 of the execution chain.
    #[must_use]
    pub fn execution_genesis(&self) -> &ParentBlock {
        &self.execution_genesis
    }

    /// All validators by index, whether they sign now or not.
    #[must_use]
    pub fn validators(&self) -> &[Validator] {
        &self.validators
    }

    /// The index of the validator with this address.
    #[must_use]
    pub fn index_of(&self, address: &Address) -> Option<usize> {
        self.validators.iter().position(|validator| validator.address() == *address)
    }

    /// The set that signs `height`.
    #[must_use]
    pub fn validator_set(&self, height: Height) -> &ValidatorSet {
        &self.era(height).set
    }

    /// Root of the set that signs `height`.
    #[must_use]
    pub fn validators_root(&self, height: Height) -> Bytes32 {
        self.era(height).root
    }

    /// Indices of the validators that sign `height`, ascending.
    #[must_use]
    pub fn members(&self, height: Height) -> &[usize] {
        &self.era(height).members
    }

    /// Index of the validator that proposes in `round` of `height`: round robin among those that sign the height.
    #[must_use]
    #[expect(clippy::indexing_slicing, reason = "a remainder is below the divisor, and no set is empty")]
    pub fn proposer(&self, height: Height, round: u64) -> usize {
        let members = self.members(height);
        let turn = (u128::from(height) + u128::from(round)) % members.len() as u128;
        members[turn as usize]
    }

    /// Timestamp of the block at `height`, in seconds.
    #[must_use]
    pub fn timestamp(&self, height: Height) -> u64 {
        self.genesis.genesis_time.saturating_add(height)
    }

    fn era(&self, height: Height) -> &Era {
        era_at(&self.first_era, &self.later_eras, height)
    }
}

impl Era {
    fn new(height: Height, members: Vec<usize>, validators: &[Validator]) -> Result<Self, SpecError> {
        let chosen = members
            .iter()
            .map(|index| validators.get(*index).cloned().ok_or(SpecError::UnknownMember { height, index: *index }));
        let set = ValidatorSet::new(chosen.collect::<Result<_, _>>()?)
            .map_err(|source| SpecError::Validators { height, source })?;
        Ok(Self { members, root: set.root(), set })
    }
}

fn era_at<'a>(first: &'a Era, later: &'a BTreeMap<Height, Era>, height: Height) -> &'a Era {
    later.range(..=height).next_back().map_or(first, |(_, era)| era)
}

fn execution_chain(params: &DevnetParams) -> Result<(BlockBuilder, ParentBlock), BuildError> {
    let forks = ForkSchedule { cancun_time: 0, prague_time: params.prague_time };
    let blobs = BlobSchedule {
        per_transaction: DEFAULT_BLOBS_PER_TRANSACTION,
        ..BlobSchedule::flat(params.max_blobs_per_block)
    };
    let builder = BlockBuilder::new(params.chain_id, forks, blobs, Account::development()?);
    let genesis = match params.execution_genesis {
        Some(genesis) => genesis,
        None => builder.genesis(params.genesis_time)?,
    };
    Ok((builder, genesis))
}

fn genesis(params: &DevnetParams, validators: ValidatorSet, execution_block_hash: B256) -> Genesis {
    Genesis {
        // At most 13 letters and 20 digits.
        chain_id: ByteList::new(format!("lapis-devnet-{}", params.chain_id)).unwrap_or_default(),
        genesis_time: params.genesis_time,
        max_blobs_per_block: params.max_blobs_per_block,
        blob_retention_heights: params.blob_retention_heights,
        validators,
        execution_block_hash: Bytes32::from(execution_block_hash.0),
        cancun_time: 0,
        prague_time: params.prague_time,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn proposers_take_turns_by_height_and_round() {
        let spec = ChainSpec::new(&DevnetParams::new(4)).unwrap();
        let turns: Vec<_> = (1..=5).map(|height| spec.proposer(height, 0)).collect();
        assert_eq!(turns, [1, 2, 3, 0, 1]);
        assert_eq!(spec.proposer(1, 1), 2);
        assert_eq!(spec.proposer(1, 3), 0);
        assert_eq!(spec.proposer(u64::MAX, u64::MAX), 2);
    }

    #[test]
    fn a_set_signs_from_its_height_until_the_next_one_and_only_its_members_propose() {
        let members_from = [(3, BTreeSet::from([0, 2])), (5, BTreeSet::from([0, 1, 2, 3]))].into();
        let spec = ChainSpec::new(&DevnetParams { members_from, ..DevnetParams::new(4) }).unwrap();
        assert_eq!(spec.validators_root(2), spec.genesis().validators.root());
        assert_eq!(spec.members(3), [0, 2]);
        assert_eq!(spec.members(4), [0, 2]);
        assert_eq!((spec.proposer(3, 0), spec.proposer(3, 1)), (2, 0));
        assert_eq!(spec.validator_set(3).validators.len(), 2);
        assert_eq!(spec.validators_root(5), spec.validators_root(1));
        assert_ne!(spec.validators_root(4), spec.validators_root(5));
    }

    #[test]
    fn parameters_that_make_no_chain_are_refused() {
        let none = ChainSpec::new(&DevnetParams::new(0));
        assert!(matches!(none, Err(SpecError::Validators { source: ValidatorSetFault::Empty, .. })));
        let members_from = [(2, BTreeSet::from([4]))].into();
        let unknown = ChainSpec::new(&DevnetParams { members_from, ..DevnetParams::new(4) });
        assert!(matches!(unknown, Err(SpecError::UnknownMember { height: 2, index: 4 })));
        let blobs = ChainSpec::new(&DevnetParams { max_blobs_per_block: 4097, ..DevnetParams::new(1) });
        assert!(matches!(blobs, Err(SpecError::Genesis(GenesisFault::TooManyBlobs(4097)))));
    }

    #[test]
    fn chains_with_other_seeds_or_ids_have_other_geneses() {
        let id = |params: &DevnetParams| ChainSpec::new(params).unwrap().genesis_id();
        let base = DevnetParams::new(4);
        assert_eq!(id(&base), id(&base.clone()));
        assert_ne!(id(&base), id(&DevnetParams { seed: [1; 32], ..base.clone() }));
        assert_ne!(id(&base), id(&DevnetParams { chain_id: 1338, ..base.clone() }));
    }
}
