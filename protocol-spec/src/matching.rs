//! Checks of a response chunk by chunk: is this what was asked for, in the order that the method prescribes?
//!
//! Each matcher belongs to one exchange, is fed every chunk before the next one is read, and gives `Matched` items.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Range,
};

pub use crate::value::IdentifiedValue;
use crate::{BlobSidecar, Bytes32, DecidedValue, Height, Matched, PayloadEnvelope, gates::MatchFault, versioned_hash};

/// Matches `blobs_by_range`: ascending (height, index), every height whole from index 0, heights of the range only.
#[derive(Debug)]
pub struct RangeBlobs {
    /// Heights still expected that have blobs.
    expected: BTreeMap<Height, IdentifiedValue>,
    next: Option<(Height, u64)>,
    /// Highest height of which a chunk was seen.
    reached: Height,
}

impl RangeBlobs {
    /// Expects the blobs of `values`, which are the values at the heights asked for.
    pub fn new(values: impl IntoIterator<Item = IdentifiedValue>) -> Self {
        let with_blobs = values.into_iter().filter(|value| value.value().blob_count() > 0);
        Self { expected: with_blobs.map(|value| (value.value().height, value)).collect(), next: None, reached: 0 }
    }

    /// Whether the response could be complete here: not inside a height.
    pub fn at_height_boundary(&self) -> bool {
        self.next.is_none()
    }

    /// Takes the next chunk.
    ///
    /// # Errors
    /// [`MatchFault`]: the server's fault, the exchange ends.
    pub fn accept(&mut self, sidecar: BlobSidecar) -> Result<Matched<BlobSidecar>, MatchFault> {
        let (height, index) = (sidecar.height, sidecar.index);
        let wanted = self.expected.get(&height).ok_or(MatchFault::Height(height))?;
        let count = wanted.value().blob_count() as u64;
        if index >= count {
            return Err(MatchFault::Index { height, index });
        }
        let due = match self.next {
            Some(next) => next == (height, index),
            None => height > self.reached && index == 0,
        };
        if !due {
            return Err(MatchFault::Order { height, index });
        }
        let matched = Matched::blob(sidecar, wanted, index)?;
        self.reached = height;
        self.next = (index + 1 < count).then_some((height, index + 1));
        Ok(matched)
    }
}

/// Matches `blobs_by_root`: each versioned hash asked for at most once, in any order, by commitment alone.
#[derive(Debug, Default)]
pub struct RootBlobs {
    /// Versioned hash -> the place for which the blob is wanted.
    wanted: HashMap<Bytes32, (IdentifiedValue, u64)>,
}

impl RootBlobs {
    /// Expects nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Expects blob `index` of `value`; returns its versioned hash, or `None` if there is no such blob.
    ///
    /// A hash that is wanted for several places is asked for, and answered, once.
    pub fn want(&mut self, value: &IdentifiedValue, index: u64) -> Option<Bytes32> {
        let hash = versioned_hash(value.value().commitment(index)?);
        self.wanted.entry(hash).or_insert_with(|| (value.clone(), index));
        Some(hash)
    }

    /// Hashes not answered yet.
    pub fn outstanding(&self) -> usize {
        self.wanted.len()
    }

    /// Takes the next chunk.
    ///
    /// # Errors
    /// [`MatchFault`]: the server's fault, the exchange ends.
    pub fn accept(&mut self, sidecar: BlobSidecar) -> Result<Matched<BlobSidecar>, MatchFault> {
        let hash = sidecar.versioned_hash();
        let (wanted, index) = self.wanted.remove(&hash).ok_or(MatchFault::Hash(hash))?;
        Matched::blob(sidecar, &wanted, index)
    }
}

/// Matches `payloads_by_range` (ascending) and `payloads_by_root` (any order).
#[derive(Debug)]
pub struct Payloads {
    wanted: HashMap<Bytes32, IdentifiedValue>,
    ascending: bool,
    reached: Height,
}

impl Payloads {
    /// Expects the payloads of `values` in ascending order of heights.
    pub fn by_range(values: impl IntoIterator<Item = IdentifiedValue>) -> Self {
        Self { ascending: true, ..Self::by_root(values) }
    }

    /// Expects the payloads of `values` in any order.
    pub fn by_root(values: impl IntoIterator<Item = IdentifiedValue>) -> Self {
        Self { wanted: values.into_iter().map(|value| (*value.id(), value)).collect(), ascending: false, reached: 0 }
    }

    /// Takes the next chunk; [`Matched::verify`] is the next check.
    ///
    /// # Errors
    /// [`MatchFault`]: the server's fault, the exchange ends.
    pub fn accept(&mut self, envelope: PayloadEnvelope) -> Result<Matched<PayloadEnvelope>, MatchFault> {
        if self.ascending && envelope.height <= self.reached {
            return Err(MatchFault::Order { height: envelope.height, index: 0 });
        }
        let wanted = self.wanted.remove(&envelope.value_id).ok_or(MatchFault::Value(envelope.value_id))?;
        self.reached = envelope.height;
        Matched::payload(envelope, &wanted)
    }
}

/// Matches `decided_values_by_range`: contiguous heights from the first one asked for.
#[derive(Debug)]
pub struct DecidedValues {
    asked: Range<Height>,
    next: Height,
}

impl DecidedValues {
    /// Expects the values of `heights`, as many of them as the server has.
    pub fn new(heights: Range<Height>) -> Self {
        Self { next: heights.start, asked: heights }
    }

    /// Takes the next chunk. The certificate is the next check: [`DecidedValue::verify`].
    ///
    /// # Errors
    /// [`MatchFault`]: the server's fault, the exchange ends.
    pub fn accept(&mut self, decided: &DecidedValue) -> Result<(), MatchFault> {
        let height = decided.value.height;
        if !self.asked.contains(&height) {
            return Err(MatchFault::Height(height));
        }
        if height != self.next {
            return Err(MatchFault::Order { height, index: 0 });
        }
        self.next += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
