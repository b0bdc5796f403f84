//! The two gates between the wire and the store, as types.
//!
//! Received data is a plain container. [`Matched`] means: it is what was asked for, at the place it was asked for.
//! [`Verified`] means: it is true, that is, bound to certified (or, for undecided values, proposed) metadata by digest,
//! KZG proof or certificate. A store takes only `Verified`, so there is nothing to clean up when a check fails.

use std::ops::Deref;

use crate::{BlobSidecar, Bytes32, DecidedValue, Height, PayloadEnvelope, PayloadFault, Value};

/// Something received that is what was asked for; not yet known to be true.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matched<T> {
    item: T,
    value_id: Bytes32,
}

/// Something known to be true: the only thing that may be stored, served or imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified<T> {
    item: T,
    value_id: Bytes32,
}

impl<T> Matched<T> {
    pub(crate) fn new(item: T, value_id: Bytes32) -> Self {
        Self { item, value_id }
    }

    /// The value to which the item belongs.
    pub fn value_id(&self) -> &Bytes32 {
        &self.value_id
    }

    /// Gives up the proof.
    pub fn into_inner(self) -> T {
        self.item
    }

    /// Through the second gate; only for callers in this crate that have checked the proof.
    pub(crate) fn into_verified(self) -> Verified<T> {
        Verified { item: self.item, value_id: self.value_id }
    }
}

impl<T> Verified<T> {
    /// The value to which the item belongs.
    pub fn value_id(&self) -> &Bytes32 {
        &self.value_id
    }

    /// Gives up the proof.
    pub fn into_inner(self) -> T {
        self.item
    }
}

impl<T> Deref for Matched<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.item
    }
}

impl<T> Deref for Verified<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.item
    }
}

/// How an item is not the one asked for. The sender's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MatchFault {
    /// The height is outside the range asked for.
    #[error("height {0} was not asked for")]
    Height(Height),
    /// The value id is none of those asked for.
    #[error("value {0} was not asked for")]
    Value(Bytes32),
    /// Not after its predecessor in the order that the method prescribes.
    #[error("height {height} index {index} is out of order or a duplicate")]
    Order {
        /// Height of the item.
        height: Height,
        /// Index of the item, 0 for items without one.
        index: u64,
    },
    /// The value has no blob at that index.
    #[error("height {height} has no blob {index}")]
    Index {
        /// Height of the item.
        height: Height,
        /// Index of the item.
        index: u64,
    },
    /// Another commitment than the certified one.
    #[error("the commitment at height {height} index {index} is not the certified one")]
    Commitment {
        /// Height of the item.
        height: Height,
        /// Index of the item.
        index: u64,
    },
    /// None of the versioned hashes asked for, or asked for and already answered.
    #[error("versioned hash {0} was not asked for or is already answered")]
    Hash(Bytes32),
    /// More items than asked for.
    #[error("more items than asked for")]
    TooMany,
}

impl Matched<BlobSidecar> {
    /// Takes `sidecar` as blob `index` of `value`, whatever place the sender gave it.
    ///
    /// # Errors
    /// If `value` has no such index or commits to another blob there.
    pub fn blob(mut sidecar: BlobSidecar, value_id: Bytes32, value: &Value, index: u64) -> Result<Self, MatchFault> {
        let height = value.height;
        let commitment = value.commitment(index).ok_or(MatchFault::Index { height, index })?;
        if *commitment != sidecar.kzg_commitment {
            return Err(MatchFault::Commitment { height, index });
        }
        sidecar.height = height;
        sidecar.index = index;
        Ok(Self::new(sidecar, value_id))
    }
}

impl Matched<PayloadEnvelope> {
    /// Takes `envelope` as the payload of `value`.
    ///
    /// # Errors
    /// If it names another height or value.
    pub fn payload(envelope: PayloadEnvelope, value_id: Bytes32, value: &Value) -> Result<Self, MatchFault> {
        if envelope.value_id != value_id {
            return Err(MatchFault::Value(envelope.value_id));
        }
        if envelope.height != value.height {
            return Err(MatchFault::Height(envelope.height));
        }
        Ok(Self::new(envelope, value_id))
    }

    /// Checks size, requests hash and digest against `value`, which must be the value it was matched with.
    ///
    /// # Errors
    /// The first [`PayloadFault`] found.
    pub fn verify(self, value: &Value) -> Result<Verified<PayloadEnvelope>, PayloadFault> {
        self.check(value)?;
        Ok(self.into_verified())
    }
}

impl Verified<DecidedValue> {
    /// The height that is decided.
    pub fn height(&self) -> Height {
        self.item.value.height
    }
}
