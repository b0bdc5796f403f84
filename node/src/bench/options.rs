//! What a bench is asked to be.

use std::{collections::BTreeSet, num::NonZeroU64, path::PathBuf, time::Duration};

use clap::ValueEnum;
use lapis_protocol_spec::MAX_BLOBS_PER_BLOCK;

/// Most heights: what a node fetches ahead of import, so that every height of a short run can be in flight.
pub const MAX_HEIGHTS: u64 = 10_000;
/// Most blobs of all heights together, 8 GiB: they are kept twice on the disk.
pub const MAX_BLOBS: u64 = 65_536;

/// A part of the bench. The KZG ceiling is measured always, since the others are held against it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Part {
    /// What the machine can do: hash, framing, streams, store
    Ceilings,
    /// Serving blobs beside a bare stream
    Serving,
    /// Sync on loopback, from one peer and from four
    Sync,
    /// Sync beside the two baselines, on loopback and at 50 ms
    Baselines,
    /// The same over a link of 100 Mbit/s
    Link,
    /// A slow, a dead and a lying peer among four
    Faults,
}

/// How long things are measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Syncs on loopback of which the median counts.
    pub syncs: usize,
    /// Measurements of throughput of which the median counts.
    pub windows: usize,
    /// One measurement of throughput.
    pub window: Duration,
    /// Longest time of one sync; what was done by then counts.
    pub time_box: Duration,
    /// Longest time of the sync whose share of a link is told: long enough that connecting is a small part of it.
    pub link_box: Duration,
    /// Syncs with each sort of faulty peer, and as many with good ones alone; where it is even, their order
    /// favours nobody.
    pub fault_rounds: usize,
    /// Longest time of one sync that waits for a faulty peer.
    pub fault_box: Duration,
}

impl Extent {
    /// Everything fits into a minute on two cores.
    pub const QUICK: Self = Self {
        syncs: 1,
        windows: 1,
        window: Duration::from_millis(400),
        time_box: Duration::from_secs(4),
        link_box: Duration::from_secs(8),
        fault_rounds: 1,
        fault_box: Duration::from_secs(8),
    };
    /// Figures that can be quoted.
    pub const FULL: Self = Self {
        syncs: 3,
        windows: 5,
        window: Duration::from_millis(800),
        time_box: Duration::from_secs(30),
        link_box: Duration::from_secs(30),
        fault_rounds: 4,
        fault_box: Duration::from_secs(60),
    };
}

/// What `lapis bench` was asked for.
#[derive(Clone, Debug)]
pub struct BenchOptions {
    /// Where stores are made, in a directory that is removed afterwards; the system's place for temporary files if
    /// `None`.
    pub dir: Option<PathBuf>,
    /// The program whose processes are measured: this one.
    pub program: PathBuf,
    /// Heights of the chain.
    pub heights: NonZeroU64,
    /// Blobs of each height.
    pub blobs: NonZeroU64,
    /// What is measured.
    pub parts: BTreeSet<Part>,
    /// For how long.
    pub extent: Extent,
}

/// Options that make no sense together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionsFault {
    /// More heights than are made.
    #[error("--heights is {0}, must be 1 to {MAX_HEIGHTS}")]
    Heights(u64),
    /// More blobs than a value can name.
    #[error("--blobs is {0}, a height holds at most {MAX_BLOBS_PER_BLOCK}")]
    Blobs(u64),
    /// More data than is made.
    #[error("{heights} heights of {blobs} blobs are more than {MAX_BLOBS} blobs")]
    Data {
        /// Heights asked for.
        heights: u64,
        /// Blobs per height.
        blobs: u64,
    },
}

impl BenchOptions {
    /// Checks the options.
    ///
    /// # Errors
    /// The first [`OptionsFault`] found.
    pub fn check(&self) -> Result<(), OptionsFault> {
        let (heights, blobs) = (self.heights.get(), self.blobs.get());
        if heights > MAX_HEIGHTS {
            return Err(OptionsFault::Heights(heights));
        }
        if blobs > MAX_BLOBS_PER_BLOCK as u64 {
            return Err(OptionsFault::Blobs(blobs));
        }
        if heights.saturating_mul(blobs) > MAX_BLOBS {
            return Err(OptionsFault::Data { heights, blobs });
        }
        Ok(())
    }

    pub(super) fn wants(&self, part: Part) -> bool {
        self.parts.contains(&part)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn options(heights: u64, blobs: u64) -> BenchOptions {
        BenchOptions {
            dir: None,
            program: PathBuf::new(),
            heights: NonZeroU64::new(heights).unwrap(),
            blobs: NonZeroU64::new(blobs).unwrap(),
            parts: BTreeSet::new(),
            extent: Extent::QUICK,
        }
    }

    #[test]
    fn chains_are_bounded_in_heights_in_blobs_and_in_all() {
        assert_eq!(options(10_000, 6).check(), Ok(()));
        assert_eq!(options(16, 4096).check(), Ok(()));
        assert_eq!(options(10_001, 1).check(), Err(OptionsFault::Heights(10_001)));
        assert_eq!(options(1, 4097).check(), Err(OptionsFault::Blobs(4097)));
        assert_eq!(options(17, 4096).check(), Err(OptionsFault::Data { heights: 17, blobs: 4096 }));
    }
}
