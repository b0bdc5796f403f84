//! Small messages: status, ranges, goodbye.

use ssz_rs::prelude::*;

use crate::{Bytes32, Height};

/// What a node says of itself. Heights are claims until served; 0 means "nothing".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, SimpleSerialize)]
pub struct Status {
    /// Which chain.
    pub genesis_id: Bytes32,
    /// Highest decided height held with its certificate.
    pub decided_height: u64,
    /// Id of the value decided there.
    pub decided_value_id: Bytes32,
    /// Up to here payloads and blobs above their floors are held without a gap.
    pub available_height: u64,
    /// Lowest decided value held.
    pub earliest_value_height: u64,
    /// Lowest payload held.
    pub earliest_payload_height: u64,
    /// Lowest height whose blobs are held.
    pub earliest_blob_height: u64,
}

/// The heights `start_height .. start_height + count`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, SimpleSerialize)]
pub struct HeightRange {
    /// First height.
    pub start_height: u64,
    /// Number of heights.
    pub count: u64,
}

/// Why a [`HeightRange`] asks for nothing that could exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RangeFault {
    /// `count` is 0.
    #[error("count is 0")]
    Empty,
    /// Heights start at 1.
    #[error("start_height is 0, heights start at 1")]
    StartsAtZero,
    /// The end does not fit into 64 bits.
    #[error("start_height + count overflows")]
    Overflow,
}

impl HeightRange {
    /// The range of `count` heights from `start_height`.
    pub fn new(start_height: Height, count: u64) -> Self {
        Self { start_height, count }
    }

    /// The range as a Rust range, with the end not included.
    ///
    /// # Errors
    /// [`RangeFault`]: the requester's mistake.
    pub fn heights(&self) -> Result<std::ops::Range<Height>, RangeFault> {
        if self.count == 0 {
            return Err(RangeFault::Empty);
        }
        if self.start_height == 0 {
            return Err(RangeFault::StartsAtZero);
        }
        let end = self.start_height.checked_add(self.count).ok_or(RangeFault::Overflow)?;
        Ok(self.start_height..end)
    }
}

/// Why a peer leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GoodbyeReason {
    /// The node shuts down.
    Shutdown,
    /// The peer is of another chain.
    WrongNetwork,
    /// An internal fault.
    Fault,
    /// Connection limits are reached.
    TooManyPeers,
    /// The peer is banned.
    Banned,
    /// A code that this version does not name.
    Other(u64),
}

impl From<u64> for GoodbyeReason {
    fn from(code: u64) -> Self {
        match code {
            1 => Self::Shutdown,
            2 => Self::WrongNetwork,
            3 => Self::Fault,
            128 => Self::TooManyPeers,
            129 => Self::Banned,
            other => Self::Other(other),
        }
    }
}

impl From<GoodbyeReason> for u64 {
    fn from(reason: GoodbyeReason) -> Self {
        match reason {
            GoodbyeReason::Shutdown => 1,
            GoodbyeReason::WrongNetwork => 2,
            GoodbyeReason::Fault => 3,
            GoodbyeReason::TooManyPeers => 128,
            GoodbyeReason::Banned => 129,
            GoodbyeReason::Other(code) => code,
        }
    }
}
