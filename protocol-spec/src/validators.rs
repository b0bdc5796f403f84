//! Validators and validator sets.

use std::collections::HashMap;

use sha2::{Digest, Sha256};
use ssz_rs::prelude::*;

use crate::{Address, Bytes32, MAX_VALIDATORS, container::ssz_container, ssz};

/// One validator: an ed25519 key and its voting power.
#[derive(Clone, Debug, Default, PartialEq, Eq, SimpleSerialize)]
pub struct Validator {
    /// ed25519 public key.
    pub public_key: Bytes32,
    /// Voting power, at least 1.
    pub power: u64,
}

impl Validator {
    /// The first 20 bytes of the sha256 of the public key.
    pub fn address(&self) -> Address {
        let hash: [u8; 32] = Sha256::digest(self.public_key.0).into();
        let mut address = Address::ZERO;
        address.0.copy_from_slice(hash.split_at(20).0);
        address
    }
}

/// The validators that sign a height, in the order of their addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ValidatorSet {
    /// The members.
    pub validators: List<Validator, MAX_VALIDATORS>,
}

ssz_container!(ValidatorSet { validators: List<Validator, MAX_VALIDATORS> });

/// What is wrong with a validator set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValidatorSetFault {
    /// No members.
    #[error("the validator set is empty")]
    Empty,
    /// More members than [`MAX_VALIDATORS`].
    #[error("the validator set has more than {MAX_VALIDATORS} members")]
    TooMany,
    /// Not in strictly ascending order of addresses (which also makes them distinct).
    #[error("the validator set is not in strictly ascending order of addresses at position {0}")]
    NotSorted(usize),
    /// A member without voting power.
    #[error("validator {0} has no voting power")]
    NoPower(usize),
    /// Total power of 2^63 or more.
    #[error("the total voting power is 2^63 or more")]
    PowerOverflow,
    /// Another set than the one asked for.
    #[error("the validator set's root is {found}, expected {expected}")]
    OtherRoot {
        /// Root of the set at hand.
        found: Bytes32,
        /// Root that was asked for.
        expected: Bytes32,
    },
}

impl ValidatorSet {
    /// Sorts `validators` and checks the result.
    ///
    /// # Errors
    /// [`ValidatorSetFault`] if no valid set can be made of them.
    pub fn new(mut validators: Vec<Validator>) -> Result<Self, ValidatorSetFault> {
        validators.sort_by_cached_key(Validator::address);
        let validators = List::try_from(validators).map_err(|_| ValidatorSetFault::TooMany)?;
        let set = Self { validators };
        set.check()?;
        Ok(set)
    }

    /// Checks order, distinctness and powers.
    ///
    /// # Errors
    /// The first [`ValidatorSetFault`] found.
    pub fn check(&self) -> Result<(), ValidatorSetFault> {
        if self.validators.is_empty() {
            return Err(ValidatorSetFault::Empty);
        }
        let mut previous: Option<Address> = None;
        let mut total = 0_u64;
        for (position, validator) in self.validators.iter().enumerate() {
            let address = validator.address();
            if previous.is_some_and(|previous| previous >= address) {
                return Err(ValidatorSetFault::NotSorted(position));
            }
            if validator.power == 0 {
                return Err(ValidatorSetFault::NoPower(position));
            }
            total = total
                .checked_add(validator.power)
                .filter(|total| *total < 1 << 63)
                .ok_or(ValidatorSetFault::PowerOverflow)?;
            previous = Some(address);
        }
        Ok(())
    }

    /// Checks the set and that its root is `expected`.
    ///
    /// # Errors
    /// The first [`ValidatorSetFault`] found.
    pub fn check_root(&self, expected: &Bytes32) -> Result<(), ValidatorSetFault> {
        let found = self.root();
        if found != *expected {
            return Err(ValidatorSetFault::OtherRoot { found, expected: *expected });
        }
        self.check()
    }

    /// Hash tree root: the name of the set in values.
    pub fn root(&self) -> Bytes32 {
        ssz::hash_tree_root(self)
    }

    /// Sum of all powers (below 2^63 in a checked set).
    pub fn total_power(&self) -> u64 {
        self.validators.iter().fold(0, |total, validator| total.saturating_add(validator.power))
    }

    /// Members by address.
    pub fn by_address(&self) -> HashMap<Address, &Validator> {
        self.validators.iter().map(|validator| (validator.address(), validator)).collect()
    }
}

#[cfg(test)]
mod tests;
