#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

/// Heights of the model: small, so that ranges touch and overlap often.
const TOP: Height = 48;

#[derive(Clone, Debug)]
enum Step {
    Insert(Range<Height>),
    InsertOne(Height),
    Remove(Range<Height>),
    RemoveOne(Height),
}

/// Any two bounds: reversed and empty ranges too.
fn any_range() -> impl Strategy<Value = Range<Height>> {
    (0..TOP, 0..TOP).prop_map(|(start, end)| start..end)
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        any_range().prop_map(Step::Insert),
        (0..TOP).prop_map(Step::InsertOne),
        any_range().prop_map(Step::Remove),
        (0..TOP).prop_map(Step::RemoveOne),
    ]
}

fn run(steps: Vec<Step>) -> (HeightRanges, BTreeSet<Height>) {
    let (mut ranges, mut model) = (HeightRanges::new(), BTreeSet::new());
    for step in steps {
        match step {
            Step::Insert(range) => {
                model.extend(range.clone());
                ranges.insert(range);
            }
            Step::InsertOne(height) => {
                model.insert(height);
                ranges.insert_one(height);
            }
            Step::Remove(range) => {
                model.retain(|height| !range.contains(height));
                ranges.remove(range);
            }
            Step::RemoveOne(height) => {
                model.remove(&height);
                ranges.remove_one(height);
            }
        }
    }
    (ranges, model)
}

fn heights(ranges: &HeightRanges) -> Vec<Height> {
    ranges.iter().flatten().collect()
}

proptest! {
    #[test]
    fn behaves_like_a_set_of_heights(steps in prop::collection::vec(any_step(), 0..40)) {
        let (ranges, model) = run(steps);
        prop_assert_eq!(heights(&ranges), model.iter().copied().collect::<Vec<_>>());
        prop_assert_eq!(ranges.count(), model.len() as u64);
        prop_assert_eq!(ranges.is_empty(), model.is_empty());
        prop_assert_eq!(ranges.first(), model.first().copied());
        prop_assert_eq!(ranges.last(), model.last().copied());
        prop_assert_eq!(ranges.iter().count(), ranges.fragments());
        let rebuilt: HeightRanges = ranges.iter().rev().collect();
        prop_assert_eq!(rebuilt, ranges);
    }

    #[test]
    fn ranges_are_sorted_disjoint_and_not_adjacent(steps in prop::collection::vec(any_step(), 0..40)) {
        let ranges: Vec<_> = run(steps).0.iter().collect();
        prop_assert!(ranges.iter().all(|range| !range.is_empty()));
        prop_assert!(ranges.windows(2).all(|pair| pair[0].end < pair[1].start));
    }

    #[test]
    fn queries_agree_with_the_set(steps in prop::collection::vec(any_step(), 0..40), within in any_range()) {
        let (ranges, model) = run(steps);
        let expected: Vec<Height> = within.clone().filter(|height| !model.contains(height)).collect();
        prop_assert_eq!(heights(&ranges.missing(within)), expected);
        for height in 0..=TOP {
            prop_assert_eq!(ranges.contains(height), model.contains(&height));
            let run = (height..).take_while(|height| model.contains(height)).count() as u64;
            prop_assert_eq!(ranges.contiguous_from(height), (height + run).saturating_sub(1));
            let before = (0..height).rev().take_while(|height| model.contains(height)).count() as u64;
            let whole = (run > 0).then(|| height - before..height + run);
            prop_assert_eq!(ranges.range_of(height), whole);
        }
    }
}

#[test]
fn the_ends_of_the_numbers() {
    let mut ranges = HeightRanges::new();
    ranges.insert(0..1);
    ranges.insert(u64::MAX - 1..u64::MAX);
    ranges.insert_one(u64::MAX);
    assert_eq!(ranges.fragments(), 2, "the last number has no range");
    assert_eq!(ranges.contiguous_from(0), 0);
    assert_eq!(ranges.contiguous_from(u64::MAX), u64::MAX - 1);
    assert_eq!(ranges.missing(0..u64::MAX).iter().collect::<Vec<_>>(), vec![1..u64::MAX - 1; 1]);
    ranges.insert(0..u64::MAX);
    assert_eq!((ranges.fragments(), ranges.count(), ranges.last()), (1, u64::MAX, Some(u64::MAX - 1)));
    ranges.remove(0..u64::MAX);
    assert!(ranges.is_empty());
    assert_eq!(ranges.contiguous_from(0), 0);
}

#[test]
fn debug_shows_the_ranges() {
    assert_eq!(format!("{:?}", HeightRanges::from_iter([1..3, 7..8])), "{1..3, 7..8}");
}
