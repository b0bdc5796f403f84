//! The two gates between the wire and the store, as types.
//!
//! Received data is a plain container. [`Matched`] means: it is what was asked for, at the place it was asked for.
//! [`Verified`] means: it is true, that is, bound to certified (or, for undecided values, proposed) metadata by digest,
//! KZG proof or certificate. A store takes only `Verified`, so there is nothing to clean up when a check fails.

use std::ops::Deref;

use crate::{BlobSidecar, Bytes32, DecidedValue, Height, IdentifiedValue, PayloadEnvelope, PayloadFault};

/// Something received that is what was asked for; not yet known to be true. It keeps the value it was matched with, so
/// it cannot be verified against another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matched<T> {
    item: T,
    value: IdentifiedValue,
}

/// Something known to be true: the only thing that may be stored, served or imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified<T> {
    item: T,
    value_id: Bytes32,
}

impl<T> Matched<T> {
    /// Id of the value to which the item belongs.
    pub fn value_id(&self) -> &Bytes32 {
        self.value.id()
    }

    /// The value to which the item belongs.
    pub fn value(&self) -> &IdentifiedValue {
        &self.value
    }

    /// Gives up the proof.
    pub fn into_inner(self) -> T {
        self.item
    }

    /// Through the second gate; only for callers in this crate that have checked the proof.
    pub(crate) fn into_verified(self) -> Verified<T> {
        Verified::new(self.item, *self.value.id())
    }
}

impl<T> Verified<T> {
    /// Only for callers in this crate that have checked the proof.
    pub(crate) fn new(item: T, value_id: Bytes32) -> Self {
        Self { item, value_id }
    }

    /// Id of the value to which the item belongs.
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
    /// More items than asked for, or than the method has at most: for whoever counts the chunks of an exchange.
    #[error("more items than asked for")]
    TooMany,
}

impl Matched<BlobSidecar> {
    /// Takes `sidecar` as blob `index` of `value`, whatever place the sender gave it.
    ///
    /// # Errors
    /// If the value has no such index or commits to another blob there.
    pub fn blob(mut sidecar: BlobSidecar, value: &IdentifiedValue, index: u64) -> Result<Self, MatchFault> {
        let height = value.value().height;
        let commitment = value.value().commitment(index).ok_or(MatchFault::Index { height, index })?;
        if *commitment != sidecar.kzg_commitment {
            return Err(MatchFault::Commitment { height, index });
        }
        sidecar.height = height;
        sidecar.index = index;
        Ok(Self { item: sidecar, value: value.clone() })
    }
}

impl Matched<PayloadEnvelope> {
    /// Takes `envelope` as the payload of `value`.
    ///
    /// # Errors
    /// If it names another height or value.
    pub fn payload(envelope: PayloadEnvelope, value: &IdentifiedValue) -> Result<Self, MatchFault> {
        if envelope.value_id != *value.id() {
            return Err(MatchFault::Value(envelope.value_id));
        }
        if envelope.height != value.value().height {
            return Err(MatchFault::Height(envelope.height));
        }
        Ok(Self { item: envelope, value: value.clone() })
    }

    /// Checks size, execution requests and digest against the value it was matched with. Hashes up to 32 MiB.
    ///
    /// # Errors
    /// The first [`PayloadFault`] found.
    pub fn verify(self) -> Result<Verified<PayloadEnvelope>, PayloadFault> {
        self.item.check(self.value.value())?;
        Ok(self.into_verified())
    }
}

impl Verified<DecidedValue> {
    /// The height that is decided.
    pub fn height(&self) -> Height {
        self.item.value.height
    }
}
