//! What to archive next. Pure.

use std::{num::NonZeroU64, ops::RangeInclusive};

use lapis_protocol_spec::{Height, HeightRanges};

/// What is to be archived, as the store sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pending {
    /// Heights up to the available one, at or above the floors, that are not archived.
    pub heights: HeightRanges,
    /// Those of them that are damaged and wait for peers to mend them.
    pub gaps: HeightRanges,
    /// Height up to which everything is there.
    pub available: Height,
}

impl Pending {
    /// The next archive to write: the lowest one that is whole.
    ///
    /// Archives end at multiples of `heights_per_file`, so that what a node writes does not depend on when it was
    /// started, and begin after such a multiple or where something else has the heights below. The last one waits until
    /// it is full. One with a gap is passed over: it does not keep later ones from being written.
    pub fn next(&self, heights_per_file: NonZeroU64) -> Option<RangeInclusive<Height>> {
        let size = heights_per_file.get();
        for range in self.heights.iter() {
            let mut first = range.start;
            while first < range.end {
                let boundary = first.div_ceil(size).saturating_mul(size);
                // Where archived heights follow, there is nothing more to wait for.
                let last = boundary.min(range.end - 1);
                if last < boundary && last == self.available {
                    break;
                }
                if self.gaps.missing(first..last + 1).count() == last + 1 - first {
                    return Some(first..=last);
                }
                first = last + 1;
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::single_range_in_vec_init)]

    use proptest::prelude::*;

    use super::*;

    fn pending(heights: &[std::ops::Range<Height>], gaps: &[std::ops::Range<Height>]) -> Pending {
        let available = heights.last().map_or(0, |range| range.end - 1);
        Pending { heights: heights.iter().cloned().collect(), gaps: gaps.iter().cloned().collect(), available }
    }

    fn next(pending: &Pending) -> Option<RangeInclusive<Height>> {
        pending.next(NonZeroU64::new(10).unwrap())
    }

    #[test]
    fn archives_end_at_multiples_of_their_size() {
        assert_eq!(next(&pending(&[1..25], &[])), Some(1..=10));
        assert_eq!(next(&pending(&[11..25], &[])), Some(11..=20));
        assert_eq!(next(&pending(&[14..25], &[])), Some(14..=20));
        assert_eq!(next(&pending(&[20..25], &[])), Some(20..=20));
    }

    #[test]
    fn the_last_archive_waits_until_it_is_full() {
        assert_eq!(next(&pending(&[21..25], &[])), None);
        assert_eq!(next(&pending(&[21..30], &[])), None);
        assert_eq!(next(&pending(&[21..31], &[])), Some(21..=30));
        assert_eq!(next(&Pending::default()), None);
    }

    #[test]
    fn what_lies_before_an_archived_height_does_not_wait() {
        assert_eq!(next(&pending(&[3..5, 11..12], &[])), Some(3..=4));
        assert_eq!(next(&Pending { available: 5, ..pending(&[3..5], &[]) }), Some(3..=4));
    }

    #[test]
    fn a_gap_holds_up_its_own_archive_only() {
        assert_eq!(next(&pending(&[1..35], &[4..5])), Some(11..=20));
        assert_eq!(next(&pending(&[1..35], &[4..5, 20..21])), Some(21..=30));
        assert_eq!(next(&pending(&[1..12], &[4..5])), None);
    }

    proptest! {
        #[test]
        fn archiving_one_after_the_other_ends_with_less_than_one_file(
            available in 0..200_u64, size in 1..40_u64, archived in proptest::collection::vec(1..200_u64, 0..10),
        ) {
            let mut heights: HeightRanges = std::iter::once(1..available + 1).filter(|range| !range.is_empty()).collect();
            archived.iter().for_each(|height| heights.remove(*height..height + 1));
            let mut pending = Pending { heights, gaps: HeightRanges::new(), available };
            while let Some(archive) = pending.next(NonZeroU64::new(size).unwrap()) {
                let (first, last) = archive.into_inner();
                prop_assert!(last - first < size && (first - 1) / size == (last - 1) / size);
                prop_assert_eq!(pending.heights.missing(first..last + 1).count(), 0);
                pending.heights.remove(first..last + 1);
            }
            prop_assert!(pending.heights.count() < size);
        }
    }
}
