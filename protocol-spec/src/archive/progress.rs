//! How far a body has come: what its writer and its reader have to agree on.

use xxhash_rust::xxh3::Xxh3Default;

use super::{Header, Trailer};
use crate::{Bytes32, Height};

/// Where in the range of heights a body is, and what the records' checksum and the end are made of.
#[derive(Clone)]
pub(super) struct Progress {
    first: Height,
    last: Height,
    height: Height,
    /// Of the record so far.
    pub(super) checksum: Xxh3Default,
    /// Value id in the last certificate.
    pub(super) last_value_id: Bytes32,
}

impl Progress {
    /// At the first byte behind `header`.
    pub(super) fn new(header: &Header) -> Self {
        Self::between(header.first(), header.last())
    }

    /// At the record of `first`, in a body that has one for each height up to `last`.
    pub(super) fn between(first: Height, last: Height) -> Self {
        Self { first, last, height: first, checksum: Xxh3Default::new(), last_value_id: Bytes32::ZERO }
    }

    /// Height that is due, or that the record at hand is of.
    pub(super) fn height(&self) -> Height {
        self.height
    }

    /// Whether a record is still due.
    pub(super) fn has_more(&self) -> bool {
        self.height <= self.last
    }

    /// The record of [`Self::height`] is complete.
    pub(super) fn end_record(&mut self) {
        self.height = self.height.saturating_add(1);
    }

    /// The end that fits the records so far.
    pub(super) fn trailer(&self) -> Trailer {
        Trailer { heights: self.height.saturating_sub(self.first), last_value_id: self.last_value_id }
    }
}
