//! What is to go wrong in a run, and how many blobs each height has.

use std::{collections::BTreeMap, ops::Range};

use lapis_protocol_spec::Height;

/// Number of blobs by height.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BlobCounts {
    /// The same at every height.
    Fixed(u64),
    /// Height 1 has the first number, and so on round and round; none where the list is empty.
    Cycle(Vec<u64>),
}

impl BlobCounts {
    /// Number of blobs at `height`.
    #[must_use]
    pub fn at(&self, height: Height) -> u64 {
        match self {
            Self::Fixed(count) => *count,
            Self::Cycle(counts) => {
                let position = height.saturating_sub(1).checked_rem(counts.len() as u64);
                position.and_then(|position| counts.get(usize::try_from(position).ok()?)).copied().unwrap_or(0)
            }
        }
    }
}

/// A validator that is away for some heights: it gets nothing and signs nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outage {
    /// Index of the validator.
    pub validator: usize,
    /// The heights it misses.
    pub heights: Range<Height>,
}

/// What becomes of the data of a round that failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LosingRounds {
    /// The engine tells the nodes to drop it as soon as the round has failed.
    #[default]
    DropAtOnce,
    /// It stays until the decision for the height makes it worthless.
    LeaveToDecision,
}

/// What is to go wrong, and when.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Validators that are away.
    pub outages: Vec<Outage>,
    /// By height: how many of its first rounds fail after everyone has stored the proposal. A round that nobody could
    /// propose in, because its proposer is away, counts as one of them.
    pub failed_rounds: BTreeMap<Height, u64>,
    /// What becomes of the data of failed rounds.
    pub losing_rounds: LosingRounds,
}

impl Faults {
    /// Whether `validator` is away at `height`.
    #[must_use]
    pub fn is_offline(&self, validator: usize, height: Height) -> bool {
        self.outages.iter().any(|outage| outage.validator == validator && outage.heights.contains(&height))
    }

    /// How many of the first rounds of `height` fail.
    #[must_use]
    pub fn failed_rounds(&self, height: Height) -> u64 {
        self.failed_rounds.get(&height).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blob_counts_start_their_cycle_at_height_1() {
        let cycle = BlobCounts::Cycle(vec![0, 1, 6]);
        assert_eq!((1..=5).map(|height| cycle.at(height)).collect::<Vec<_>>(), [0, 1, 6, 0, 1]);
        assert_eq!(BlobCounts::Cycle(Vec::new()).at(3), 0);
        assert_eq!(BlobCounts::Fixed(9).at(3), 9);
    }

    #[test]
    fn an_outage_ends_before_its_last_height() {
        let faults = Faults { outages: vec![Outage { validator: 2, heights: 3..5 }], ..Faults::default() };
        let away: Vec<_> = (1..7).filter(|height| faults.is_offline(2, *height)).collect();
        assert_eq!(away, [3, 4]);
        assert!(!faults.is_offline(1, 3));
    }
}
