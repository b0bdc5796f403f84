#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use super::*;

const EVERY: Duration = Duration::from_secs(300);
const FULL: Taken = Taken { wanted: true, inbound: false };

fn peer() -> Held {
    Held {
        peer: PeerId::random(),
        direction: Direction::Outbound,
        address: None,
        kept: false,
        bytes_in: 0,
        bytes_out: 0,
        score: 0.0,
        ahead: true,
    }
}

/// Holds `before` for one period at the end of which they look like `after`.
fn after_a_period(before: &[Held], after: &[Held], taken: Taken, heard: &[(PeerId, u32)]) -> Option<PeerId> {
    let start = Instant::now();
    let mut rotation = Rotation::new(EVERY, -25.0, start);
    rotation.measure(before, start);
    assert_eq!(rotation.pick(before, taken, start), None);
    for (peer, times) in heard {
        (0..*times).for_each(|_| rotation.heard(peer));
    }
    rotation.measure(after, start + EVERY);
    rotation.pick(after, taken, start + EVERY)
}

#[test]
fn one_that_served_nothing_goes_and_one_that_did_stays() {
    let (idle, busy) = (peer(), peer());
    let served = Held { bytes_in: USEFUL_BYTES, ..busy.clone() };
    let gone = after_a_period(&[idle.clone(), busy.clone()], &[idle.clone(), served.clone()], FULL, &[]);
    assert_eq!(gone, Some(idle.peer));
    assert_eq!(after_a_period(&[busy], &[served], FULL, &[]), None);
}

#[test]
fn nobody_goes_while_places_are_free() {
    let idle = [peer()];
    let free = Taken { wanted: false, inbound: false };
    assert_eq!(after_a_period(&idle, &idle, free, &[]), None);
}

#[test]
fn kept_peers_never_go() {
    let kept = [Held { kept: true, score: -90.0, ahead: false, ..peer() }];
    assert_eq!(after_a_period(&kept, &kept, Taken { wanted: true, inbound: true }, &[]), None);
}

#[test]
fn a_bad_score_goes_first_then_who_claims_nothing_then_who_gave_least() {
    let bad = Held { score: -30.0, bytes_in: 10 * USEFUL_BYTES, ..peer() };
    let empty = Held { ahead: false, ..peer() };
    let poor = peer();
    let rich = Held { bytes_in: 1000, ..peer() };
    let fresh = |held: &Held| Held { bytes_in: 0, ..held.clone() };
    let mut all = vec![rich.clone(), poor.clone(), empty.clone(), bad.clone()];
    for expected in [&bad, &empty, &poor, &rich] {
        let before: Vec<_> = all.iter().map(fresh).collect();
        assert_eq!(after_a_period(&before, &all, FULL, &[]), Some(expected.peer));
        all.retain(|held| held.peer != expected.peer);
    }
}

#[test]
fn announcing_first_is_of_use() {
    let herald = [peer()];
    assert_eq!(after_a_period(&herald, &herald, FULL, &[(herald[0].peer, 8)]), None);
    assert_eq!(after_a_period(&herald, &herald, FULL, &[(herald[0].peer, 7)]), Some(herald[0].peer));
}

#[test]
fn inbound_peers_go_only_when_nobody_else_could_come_and_not_while_they_are_served() {
    let idle = Held { direction: Direction::Inbound, ..peer() };
    let reader = Held { direction: Direction::Inbound, ..peer() };
    let read = Held { bytes_out: USEFUL_BYTES, ..reader.clone() };
    let (before, after) = ([idle.clone(), reader.clone()], [idle.clone(), read.clone()]);
    assert_eq!(after_a_period(&before, &after, FULL, &[]), None);
    let crowded = Taken { wanted: false, inbound: true };
    assert_eq!(after_a_period(&before, &after, crowded, &[]), Some(idle.peer));
    assert_eq!(after_a_period(&[reader], &[read], crowded, &[]), None);
}

#[test]
fn a_newcomer_has_a_whole_period() {
    let start = Instant::now();
    let mut rotation = Rotation::new(EVERY, -25.0, start);
    let newcomer = [peer()];
    rotation.measure(&newcomer, start + EVERY / 2);
    assert_eq!(rotation.pick(&newcomer, FULL, start + EVERY), None);
    assert_eq!(rotation.pick(&newcomer, FULL, start + 2 * EVERY), Some(newcomer[0].peer));
}

#[test]
fn only_news_is_counted_and_a_peer_that_comes_back_begins_anew() {
    let start = Instant::now();
    let mut rotation = Rotation::new(EVERY, -25.0, start);
    let one = peer();
    let at = |bytes_in| [Held { bytes_in, ..one.clone() }];
    assert_eq!(rotation.measure(&at(10), start), [(one.peer, 10)]);
    assert_eq!(rotation.measure(&at(15), start), [(one.peer, 5)]);
    assert!(rotation.measure(&at(15), start).is_empty());
    assert!(rotation.measure(&[], start).is_empty());
    assert!(rotation.marks.is_empty());
    assert_eq!(rotation.measure(&at(7), start), [(one.peer, 7)]);
    assert!(rotation.measure(&at(3), start).is_empty(), "one of its connections is closed");
}

#[test]
fn in_a_hurry_the_worst_goes_before_the_period_is_over_and_one_only() {
    let start = Instant::now();
    let mut rotation = Rotation::new(EVERY, -25.0, start);
    let (worse, better) = (peer(), Held { bytes_in: 10 * USEFUL_BYTES, ..peer() });
    let inbound = Held { direction: Direction::Inbound, ..peer() };
    let kept = Held { kept: true, ..peer() };
    let held = [worse.clone(), better, inbound, kept];
    let before: Vec<_> = held.iter().map(|held| Held { bytes_in: 0, ..held.clone() }).collect();
    rotation.measure(&before, start);
    rotation.measure(&held, start);
    rotation.hurry();
    assert_eq!(rotation.pick(&held, FULL, start), None, "they have hardly come");
    rotation.hurry();
    let free = Taken { wanted: false, inbound: false };
    assert_eq!(rotation.pick(&held, free, start + NEWCOMER), None, "nobody else is to be had");
    rotation.hurry();
    assert_eq!(rotation.pick(&held, FULL, start + NEWCOMER), Some(worse.peer));
    assert_eq!(rotation.pick(&held, FULL, start + NEWCOMER), None);
}
