#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use super::*;

#[test]
fn every_network_with_an_honest_holder_of_each_item_is_synced_from_within_bounds() {
    let mut values = Values::default();
    for seed in 0..100 {
        check_seed(seed, &mut values).unwrap();
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let mut values = Values::default();
    for seed in 0..10 {
        check_same(seed, &mut values).unwrap();
    }
}

#[test]
fn forty_percent_liars_cost_little_time_once_they_are_known() {
    let mut values = Values::default();
    for seed in 0..10 {
        check_contest(seed, &mut values).unwrap();
    }
}
