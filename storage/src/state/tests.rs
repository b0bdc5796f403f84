#![allow(clippy::unwrap_used, clippy::single_range_in_vec_init)]

use proptest::prelude::*;
use redb::{Database, ReadableDatabase, backends::InMemoryBackend};

use super::*;
use crate::ranges::in_ranges;
use crate::{rows::Fields, tables::ReadTables};

fn state(decided: Height) -> State {
    let base = ChainLink::genesis(&Genesis::default());
    let mut state = State::starting_at(base);
    state.chain.tip = ChainLink { height: decided, ..base };
    state
}

fn reload(database: &Database) -> State {
    State::load(&ReadTables::open(&database.begin_read().unwrap()).unwrap()).unwrap().0
}

fn persist(database: &Database, after: &State, before: Option<&State>) {
    let transaction = database.begin_write().unwrap();
    after.persist(&mut WriteTables::open(&transaction).unwrap(), before).unwrap();
    transaction.commit().unwrap();
}

#[test]
fn available_stops_below_the_lowest_gap_of_either_kind() {
    let mut state = state(10);
    state.advance();
    assert_eq!(state.chain.available, 10);
    state.chain.available = 0;
    state.payload_gaps.insert(6..8);
    state.blob_gaps.insert(4..5);
    state.advance();
    assert_eq!(state.chain.available, 3);
    state.blob_gaps.remove_one(4);
    state.advance();
    assert_eq!(state.chain.available, 5);
}

#[test]
fn heights_are_complete_if_none_of_them_is_in_a_gap() {
    let mut state = state(10);
    state.payload_gaps.insert(6..8);
    state.blob_gaps.insert_one(3);
    for first in 0..13 {
        for last in first..13 {
            let expected = (first..=last).all(|height| matches!(height, 1 | 2 | 4 | 5 | 8..=10));
            assert_eq!(state.are_complete(first..=last), expected, "{first}..={last}");
        }
    }
}

#[test]
fn a_gap_below_the_watermark_does_not_hold_it_back() {
    let mut state = state(10);
    state.chain.available = 5;
    state.chain.imported = 4;
    state.blob_gaps = [2..4].into_iter().collect();
    state.retreat(2);
    state.advance();
    assert_eq!(state.chain.available, 10);
    state.blob_gaps.insert_one(7);
    state.retreat(7);
    assert_eq!(state.chain.available, 6);
}

#[test]
fn floors_are_reported_once_something_is_held_at_them() {
    let mut state = state(10);
    state.chain.available = 6;
    state.chain.imported = 6;
    state.chain.blob_floor = 7;
    let marks = state.watermarks();
    assert_eq!((marks.earliest_value, marks.earliest_payload, marks.earliest_blob), (1, 1, 0));
    assert_eq!(marks.pruned, 6);
    state.chain.imported = 2;
    assert_eq!(state.watermarks().pruned, 2, "waived blobs are not pruned ahead of import");
}

#[test]
fn the_chain_row_has_one_length() {
    let chain = state(3).chain;
    let mut row = chain.encode();
    assert_eq!(Chain::decode(&row), Some(chain));
    row.push(0);
    assert_eq!(Chain::decode(&row), None);
    assert_eq!(link(&mut Fields(row.get(..111).unwrap())), None);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn what_is_persisted_step_by_step_is_what_is_loaded(
        steps in prop::collection::vec((0_u8..3, any::<bool>(), 1_u64..60, 1_u64..12), 1..40),
    ) {
        let database = Database::builder().create_with_backend(InMemoryBackend::new()).unwrap();
        let mut before = state(0);
        persist(&database, &before, None);
        for (set, add, start, count) in steps {
            let mut after = before.clone();
            let ranges = match set {
                0 => &mut after.payload_gaps,
                1 => &mut after.blob_gaps,
                _ => &mut after.archived,
            };
            if add { ranges.insert(start..start + count) } else { ranges.remove(start..start + count) }
            after.chain.available = start;
            persist(&database, &after, Some(&before));
            prop_assert_eq!(&reload(&database), &after);
            let tables = ReadTables::open(&database.begin_read().unwrap()).unwrap();
            for height in 0..75 {
                let found = in_ranges(&tables, RangeKind::Archived, height).unwrap();
                prop_assert_eq!(found, after.archived.contains(height));
            }
            before = after;
        }
    }
}
