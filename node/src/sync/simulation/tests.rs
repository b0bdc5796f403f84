#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::{
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use super::*;

/// Checks so many seeds, on all cores.
fn check_all(seeds: u64, check: impl Fn(u64, &mut Values) + Sync) {
    let next = AtomicU64::new(0);
    let work = || {
        let mut values = Values::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds {
                return;
            }
            check(seed, &mut values);
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().unwrap().get() {
            scope.spawn(work);
        }
    });
}

#[test]
fn every_network_with_an_honest_holder_of_each_item_is_synced_from_within_bounds() {
    // Networks of hundreds of peers are for the release run, but for one.
    let is_small = |seed| Plan::random(seed).peers.len() <= 40;
    check_all(150, |seed, values| {
        if is_small(seed) {
            check_seed(seed, values).unwrap();
        }
    });
    let large = (0..).find(|seed| !is_small(*seed)).unwrap();
    check_seed(large, &mut Values::default()).unwrap();
}

#[test]
fn a_node_at_the_head_has_each_height_soon_after_somebody_honest_told_of_it() {
    check_all(60, |seed, values| {
        check_tip(seed, values).unwrap();
    });
}

#[test]
fn what_is_announced_again_and_again_costs_little() {
    check_all(16, |seed, values| {
        check_repeated(seed, values).unwrap();
    });
}

#[test]
fn a_growing_chain_without_news_is_not_followed() {
    let mut plan = Plan::growing(3);
    for news in plan.growth.iter_mut().flat_map(|growth| &mut growth.news) {
        news.after = LIMIT;
    }
    let first = plan.first_head();
    let outcome = World::new(&plan, &mut Values::default(), &mut Log::new(false), None).run(Duration::from_secs(120));
    assert_eq!((outcome.finished, outcome.reached, outcome.delays.len()), (false, first, 0));
}

#[test]
fn the_same_seed_gives_the_same_run() {
    check_all(8, |seed, values| check_same(seed, values).unwrap());
    let (plan, mut values) = (Plan::growing(4), Values::default());
    let (first, second) = (run(&plan, &mut values), run(&plan, &mut values));
    assert_eq!((first.tally, first.delays), (second.tally, second.delays));
}

#[test]
fn forty_percent_liars_cost_little_time_once_they_are_known() {
    check_all(3, |seed, values| {
        check_contest(seed, values).unwrap();
    });
}

#[test]
fn one_bad_peer_of_four_costs_little_time_from_the_beginning() {
    check_all(2, |seed, values| {
        check_fourths(seed, 150, &Fourth::ALL, values).unwrap();
    });
}

#[test]
fn streams_take_more_with_each_round_trip() {
    let round_trip = Duration::from_millis(50);
    let opens = |sent: u64| exchange::window_opens(sent, 256 * 1024, round_trip).as_millis();
    let kib = 1024;
    assert_eq!([0, 255 * kib, 256 * kib, 511 * kib, 512 * kib, 1024 * kib].map(opens), [0, 0, 50, 50, 100, 150]);
    // From 32 MiB on a whole window each time.
    let mib = 1024 * kib;
    assert_eq!(opens(48 * mib) - opens(32 * mib), 50);
}

#[test]
fn what_must_not_be_is_found_and_named_with_its_seed() {
    let mut values = Values::default();
    let plan = Plan::random(1);
    let good = run(&plan, &mut values);
    check(&plan, &good).unwrap();
    let stuck = Outcome { finished: false, ..good.clone() };
    assert!(matches!(check(&plan, &stuck), Err(Violation::NotFinished { seed: 1, .. })));
    let spoilt = |spoil: fn(&mut Tally)| {
        let mut outcome = good.clone();
        spoil(&mut outcome.tally);
        check(&plan, &outcome).unwrap_err()
    };
    assert!(matches!(spoilt(|tally| tally.honest_banned.push(3)), Violation::HonestBanned { seed: 1, .. }));
    assert!(matches!(spoilt(|tally| tally.peak_buffered = u64::MAX), Violation::Memory { seed: 1, .. }));
    assert!(matches!(spoilt(|tally| tally.faulty_bytes += 1 << 40), Violation::Waste { seed: 1, .. }));
    let plan = Plan::growing(1);
    let mut outcome = run(&plan, &mut values);
    check(&plan, &outcome).unwrap();
    let delay = outcome.delays.last_mut().unwrap();
    delay.took = delay.bound + Duration::from_millis(1);
    assert!(matches!(check(&plan, &outcome), Err(Violation::Late { seed: 1, .. })));
}

#[test]
fn a_network_without_an_honest_holder_does_not_finish() {
    let mut plan = Plan::random(1);
    plan.peers.retain(|peer| !peer.conduct.is_honest());
    let outcome = World::new(&plan, &mut Values::default(), &mut Log::new(false), None).run(Duration::from_secs(120));
    assert!(!outcome.finished);
}

#[test]
fn a_run_can_be_told_line_by_line() {
    let (outcome, lines) = tell(&Plan::random(2), &mut Values::default());
    let asked = lines.iter().filter(|line| line.contains(" ask peer ")).count() as u64;
    assert_eq!(asked, outcome.tally.requests);
}
