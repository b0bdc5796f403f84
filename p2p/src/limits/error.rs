//! What is wrong with configured limits.

use super::LARGEST_FIXED_ITEM_KIB;

/// A limit under which the node could not do its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LimitsError {
    /// A count that must be at least 1 is 0.
    #[error("{name} must be at least 1")]
    Zero {
        /// The setting.
        name: &'static str,
    },
    /// A part is larger than the whole.
    #[error("{name} is {part}, more than the {whole} of {whole_name}")]
    PartAboveWhole {
        /// The setting that is too large.
        name: &'static str,
        /// Its value.
        part: u32,
        /// The setting that it is a part of.
        whole_name: &'static str,
        /// Its value.
        whole: u32,
    },
    /// A byte quota that never lets one blob sidecar through.
    #[error("{name} holds {burst} KiB, one blob sidecar needs {LARGEST_FIXED_ITEM_KIB} KiB")]
    QuotaBelowItem {
        /// The setting.
        name: &'static str,
        /// Its bucket size in KiB.
        burst: u32,
    },
    /// A percentage outside 1 to 100.
    #[error("{name} is {value}, must be 1 to 100 percent")]
    Percent {
        /// The setting.
        name: &'static str,
        /// Its value.
        value: u8,
    },
    /// A share that leaves nothing for the others, or is none.
    #[error("{name} is {value}, must be 1 to 99 percent")]
    Share {
        /// The setting.
        name: &'static str,
        /// Its value.
        value: u8,
    },
    /// A duration of zero.
    #[error("{name} must be longer than 0")]
    NoTime {
        /// The setting.
        name: &'static str,
    },
    /// Fewer streams per connection than a conforming peer may open.
    #[error("connections.streams is {value}, a peer may open {minimum} at a time")]
    TooFewStreams {
        /// Its value.
        value: u32,
        /// What the protocol allows: both directions of all methods, and libp2p's own.
        minimum: u32,
    },
    /// A duration longer than a year.
    #[error("{name} must be at most a year")]
    TooMuchTime {
        /// The setting.
        name: &'static str,
    },
    /// A score rule that would ban peers for nothing, or never.
    #[error("{name} must be below 0, and scores.ban_at not above scores.disconnect_at")]
    Score {
        /// The setting.
        name: &'static str,
    },
}
