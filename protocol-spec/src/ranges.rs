//! Sets of heights, kept as disjoint ranges: what is held, what is missing.

use std::{collections::BTreeMap, fmt, ops::Range};

use crate::Height;

/// A set of heights as sorted, disjoint, non-adjacent, non-empty half-open ranges.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct HeightRanges {
    /// start -> end (not included).
    ranges: BTreeMap<Height, Height>,
}

impl HeightRanges {
    /// The empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether no height is in the set.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// How many ranges the set consists of (a measure of its memory).
    pub fn fragments(&self) -> usize {
        self.ranges.len()
    }

    /// How many heights are in the set.
    pub fn count(&self) -> u64 {
        self.ranges.iter().map(|(start, end)| end - start).sum()
    }

    /// Lowest height.
    pub fn first(&self) -> Option<Height> {
        self.ranges.first_key_value().map(|(start, _)| *start)
    }

    /// Highest height.
    pub fn last(&self) -> Option<Height> {
        self.ranges.last_key_value().map(|(_, end)| end - 1)
    }

    /// The ranges in ascending order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Range<Height>> + '_ {
        self.ranges.iter().map(|(start, end)| *start..*end)
    }

    /// Whether `height` is in the set.
    pub fn contains(&self, height: Height) -> bool {
        self.range_of(height).is_some()
    }

    /// The whole range that `height` is part of.
    pub fn range_of(&self, height: Height) -> Option<Range<Height>> {
        let (start, end) = self.ranges.range(..=height).next_back()?;
        (height < *end).then_some(*start..*end)
    }

    /// Adds a range; empty ranges change nothing.
    pub fn insert(&mut self, range: Range<Height>) {
        if range.is_empty() {
            return;
        }
        let Range { mut start, mut end } = range;
        if let Some((&before, &before_end)) = self.ranges.range(..start).next_back()
            && before_end >= start
        {
            start = before;
            end = end.max(before_end);
        }
        let absorbed: Vec<Height> = self.ranges.range(start..=end).map(|(start, _)| *start).collect();
        for key in absorbed {
            if let Some(absorbed_end) = self.ranges.remove(&key) {
                end = end.max(absorbed_end);
            }
        }
        self.ranges.insert(start, end);
    }

    /// Adds one height. `Height::MAX` cannot be added: its range has no end.
    pub fn insert_one(&mut self, height: Height) {
        self.insert(height..height.saturating_add(1));
    }

    /// Takes a range out.
    pub fn remove(&mut self, range: Range<Height>) {
        if range.is_empty() {
            return;
        }
        if let Some((&before, &before_end)) = self.ranges.range(..range.start).next_back()
            && before_end > range.start
        {
            self.ranges.insert(before, range.start);
            if before_end > range.end {
                self.ranges.insert(range.end, before_end);
                return;
            }
        }
        let inside: Vec<(Height, Height)> = self.ranges.range(range.clone()).map(|(s, e)| (*s, *e)).collect();
        for (start, end) in inside {
            self.ranges.remove(&start);
            if end > range.end {
                self.ranges.insert(range.end, end);
            }
        }
    }

    /// Takes one height out.
    pub fn remove_one(&mut self, height: Height) {
        self.remove(height..height.saturating_add(1));
    }

    /// The heights of `within` that are not in the set.
    pub fn missing(&self, within: Range<Height>) -> Self {
        let mut missing = Self::new();
        missing.insert(within.clone());
        let from = self.range_of(within.start).map_or(within.start, |range| range.start);
        if from < within.end {
            for (start, end) in self.ranges.range(from..within.end) {
                missing.remove(*start..*end);
            }
        }
        missing
    }

    /// The highest height up to which, starting with `from`, every height is in the set; `from - 1` if `from` is not.
    pub fn contiguous_from(&self, from: Height) -> Height {
        self.range_of(from).map_or(from.saturating_sub(1), |range| range.end - 1)
    }
}

impl fmt::Debug for HeightRanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl FromIterator<Range<Height>> for HeightRanges {
    fn from_iter<I: IntoIterator<Item = Range<Height>>>(ranges: I) -> Self {
        let mut set = Self::new();
        ranges.into_iter().for_each(|range| set.insert(range));
        set
    }
}

#[cfg(test)]
mod tests;
