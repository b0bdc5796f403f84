//! Traces: what the scheduler was told and what it decided, line by line, to be decided again elsewhere.
//!
//! The scheduler has no clock and no random source of its own, so a trace that holds both, and every input, holds all
//! that it did. The first line says what it began with; each further one is an input or a decision, with the nanoseconds
//! since the beginning. Traces hold peer ids, heights and sizes; no addresses, no keys, no data.

mod file;
mod record;
mod replay;

use std::{ops::Range, time::Duration};

use lapis_protocol_spec::Height;
use serde::{Deserialize, Serialize};

pub use self::{
    file::TraceFile,
    record::{Decisions, RecordedScheduler},
    replay::{MAX_LINE, ReplayError, Replayed, replay},
};
use super::scheduler::{Action, Fetch, Input, RequestId, SchedulerConfig, SourceId};

/// Version of the format.
pub const TRACE_FORMAT: u32 = 2;

/// What a scheduler begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begin {
    /// Its bounds.
    pub config: SchedulerConfig,
    /// Decided up to here.
    pub decided: Height,
    /// Nothing is lacking up to here.
    pub available: Height,
    /// Imported up to here.
    pub imported: Height,
}

/// Where lines of a trace go, newlines not included.
pub trait TraceSink: std::fmt::Debug + Send + Sync {
    /// Takes a line. `false` if it takes no more; it is not asked again then.
    fn line(&mut self, line: &str) -> bool;
}

/// Lines in memory.
impl TraceSink for Vec<String> {
    fn line(&mut self, line: &str) -> bool {
        self.push(line.to_owned());
        true
    }
}

/// The first line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Header {
    lapis_trace: u32,
    version: String,
    /// Of the random source, in hex.
    seed: String,
    begin: Begin,
}

/// Any other line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Line {
    /// Nanoseconds since the beginning.
    at: u64,
    #[serde(flatten)]
    what: What,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum What {
    Told(Input),
    Decided(Vec<Decision>),
}

/// One decision, as far as it is to be compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// To end an exchange.
    Cancel(RequestId),
    /// To begin one.
    Ask {
        /// Its name.
        id: RequestId,
        /// Whom.
        of: SourceId,
        /// For what.
        what: Asked,
    },
}

/// What somebody is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Asked {
    /// Decided values.
    Values(Range<Height>),
    /// The validator set with this root.
    ValidatorSet(#[serde(with = "crate::genesis_file::hex_bytes")] lapis_protocol_spec::Bytes32),
    /// Payloads of these heights.
    Payloads(Vec<Height>),
    /// Payloads of these heights, by root.
    PayloadsByRoot(Vec<Height>),
    /// All blobs of these heights.
    WholeHeights(Vec<Height>),
    /// Blobs of heights by index.
    Blobs(Vec<(Height, Vec<u64>)>),
}

impl From<&Fetch> for Asked {
    fn from(fetch: &Fetch) -> Self {
        let heights = |values: &[lapis_protocol_spec::matching::IdentifiedValue]| {
            values.iter().map(|value| value.value().height).collect()
        };
        match fetch {
            Fetch::Values(heights) => Self::Values(heights.clone()),
            Fetch::ValidatorSet { root, .. } => Self::ValidatorSet(*root),
            Fetch::Payloads(values) => Self::Payloads(heights(values)),
            Fetch::PayloadsByRoot(values) => Self::PayloadsByRoot(heights(values)),
            Fetch::WholeHeights(values) => Self::WholeHeights(heights(values)),
            Fetch::Blobs(wanted) => {
                Self::Blobs(wanted.iter().map(|(value, indices)| (value.value().height, indices.clone())).collect())
            }
        }
    }
}

impl From<&Action> for Decision {
    fn from(action: &Action) -> Self {
        Self::Ask { id: action.id, of: action.source, what: Asked::from(&action.fetch) }
    }
}

/// As a number that takes part in a trace; a span of 584 years fits.
fn nanoseconds(since: Duration) -> u64 {
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
