#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::{cmp::Reverse, collections::BinaryHeap};

use rand::{Rng, SeedableRng, rngs::StdRng};

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const ZERO: Duration = Duration::ZERO;
const AMPLE: Quota = match Quota::new(1 << 30, 1 << 30) {
    Some(quota) => quota,
    None => panic!(),
};

fn quota(per_second: u32, burst: u32) -> Quota {
    Quota::new(per_second, burst).unwrap()
}

fn peers(count: usize) -> Vec<PeerId> {
    (0..count).map(|_| PeerId::random()).collect()
}

/// A peer with streams on each of which it asks for its next item a while after it got the last one.
#[derive(Clone, Copy)]
struct Client {
    class: Class,
    streams: usize,
    /// Cells of each item.
    item: u32,
    /// From one item to asking for the next.
    pause: Duration,
    /// When it begins.
    from: Duration,
}

const GREEDY: Client = Client { class: Class::CatchUp, streams: 2, item: 129, pause: ZERO, from: ZERO };

/// Cells that each of `clients` got until `end`, and the longest that any item of each waited.
fn play(mut shaper: Shaper<(usize, Duration)>, clients: &[Client], end: Duration) -> Vec<(u64, Duration)> {
    let ids = peers(clients.len());
    let mut asking: BinaryHeap<_> = (0..clients.len())
        .flat_map(|index| std::iter::repeat_n(Reverse((clients[index].from, index)), clients[index].streams))
        .collect();
    let mut got = vec![(0, ZERO); clients.len()];
    let mut now = ZERO;
    while now <= end {
        while let Some(Reverse((at, index))) = asking.peek().copied()
            && at <= now
        {
            asking.pop();
            shaper.enqueue(ids[index], clients[index].class, clients[index].item, (index, now), now);
        }
        for (index, since) in shaper.advance(now) {
            got[index].0 += u64::from(clients[index].item);
            got[index].1 = got[index].1.max(now - since);
            asking.push(Reverse((now + clients[index].pause, index)));
        }
        let asked = asking.peek().map(|Reverse((at, _))| *at);
        now = [asked, shaper.next()].into_iter().flatten().min().unwrap().max(now);
    }
    got
}

fn total(got: &[(u64, Duration)]) -> u64 {
    got.iter().map(|(cells, _)| cells).sum()
}

fn assert_equal_shares(got: &[(u64, Duration)]) {
    let share = total(got) as f64 / got.len() as f64;
    for (index, (cells, _)) in got.iter().enumerate() {
        let part = *cells as f64 / share;
        assert!((0.9..=1.1).contains(&part), "client {index} got {part:.3} of its share");
    }
}

#[test]
fn a_hundred_greedy_peers_stay_under_the_cap_and_share_alike() {
    let clients: Vec<_> = (0..100).map(|index| Client { streams: 1 + index % 12, ..GREEDY }).collect();
    let got = play(Shaper::new(AMPLE, quota(10_000, 1000), 25), &clients, SECOND * 100);
    assert!(total(&got) <= 10_000 * 100 + 1000, "{}", total(&got));
    assert!(total(&got) >= 990_000, "and nothing is wasted: {}", total(&got));
    assert_equal_shares(&got);
}

#[test]
fn the_size_of_its_items_gives_a_peer_neither_more_nor_less() {
    let sizes = [4, 7, 64, 129, 1000, 2000, 4096];
    let clients: Vec<_> =
        (0..98).map(|index| Client { item: sizes[index % sizes.len()], streams: 2, ..GREEDY }).collect();
    let got = play(Shaper::new(AMPLE, quota(100_000, 129), 25), &clients, SECOND * 60);
    assert_equal_shares(&got);
}

#[test]
fn who_reads_slowly_takes_nothing_from_others_and_gets_what_it_can_read() {
    let slow = Client { streams: 1, pause: SECOND * 10, ..GREEDY };
    let clients: Vec<_> = (0..100).map(|index| if index < 30 { slow } else { GREEDY }).collect();
    let got = play(Shaper::new(AMPLE, quota(10_000, 129), 25), &clients, SECOND * 1000);
    assert_equal_shares(&got[30..]);
    for (cells, longest) in &got[..30] {
        assert!(*cells >= 129 * 1000 / 12, "{cells}");
        assert!(*longest <= SECOND * 2, "one round: {longest:?}");
    }
    assert!(total(&got) >= 9_900_000, "what they leave goes to the others: {}", total(&got));
}

#[test]
fn who_comes_late_gets_its_share_from_then_on_and_no_more() {
    let late = Client { from: SECOND * 900, ..GREEDY };
    let got = play(Shaper::new(AMPLE, quota(1000, 129), 25), &[GREEDY, late], SECOND * 1000);
    assert!((45_000..=55_000).contains(&got[1].0), "{}", got[1].0);
}

#[test]
fn peers_that_catch_up_cannot_starve_those_near_the_head() {
    let live = Client { class: Class::NearHead, streams: 1, pause: SECOND, ..GREEDY };
    let mut clients = vec![GREEDY; 99];
    clients.push(live);
    let got = play(Shaper::new(AMPLE, quota(1000, 129), 25), &clients, SECOND * 1000);
    let (cells, longest) = got[99];
    assert!(longest <= SECOND / 2, "two slices at most are before it: {longest:?}");
    assert!(cells >= 129 * 700, "{cells}");
    assert_equal_shares(&got[..99]);
}

#[test]
fn peers_near_the_head_have_their_share_and_no_more_while_others_catch_up() {
    let live = Client { class: Class::NearHead, ..GREEDY };
    for (percent, expected) in [(25, 250_000), (60, 600_000), (1, 10_000)] {
        let mut clients = vec![GREEDY; 10];
        clients.extend(vec![live; 90]);
        let got = play(Shaper::new(AMPLE, quota(1000, 129), percent), &clients, SECOND * 1000);
        let near = total(&got[10..]);
        assert!(near.abs_diff(expected) <= expected / 20, "{percent} percent: {near}");
        assert_equal_shares(&got[..10]);
    }
}

#[test]
fn a_share_that_nobody_uses_is_not_lost() {
    let got = play(Shaper::new(AMPLE, quota(1000, 129), 90), &[GREEDY; 3], SECOND * 1000);
    assert!(total(&got) >= 990_000, "{}", total(&got));
}

#[test]
fn a_peer_over_its_own_quota_holds_nobody_up() {
    let mut shaper = Shaper::new(quota(100, 129), AMPLE, 25);
    let ids = peers(2);
    for number in 0..10 {
        shaper.enqueue(ids[0], Class::CatchUp, 129, number, ZERO);
    }
    shaper.enqueue(ids[1], Class::CatchUp, 129, 99, ZERO);
    assert_eq!(shaper.advance(ZERO), [0, 99]);
    let next = shaper.next().unwrap();
    assert!(next > SECOND && next < SECOND * 2, "{next:?}");
    assert!(shaper.advance(next - Duration::from_millis(1)).is_empty());
    assert_eq!(shaper.advance(next), [1], "in the order in which they came");
}

#[test]
fn both_classes_of_a_peer_are_charged_to_its_one_bucket() {
    let mut shaper = Shaper::new(quota(1, 2), AMPLE, 25);
    let peer = PeerId::random();
    for (number, class) in [Class::CatchUp, Class::NearHead, Class::CatchUp, Class::NearHead].into_iter().enumerate() {
        shaper.enqueue(peer, class, 1, number, ZERO);
    }
    assert_eq!(shaper.advance(ZERO).len(), 2);
    assert_eq!(shaper.advance(SECOND).len(), 1);
    assert_eq!(shaper.advance(SECOND * 2).len(), 1);
}

#[test]
fn a_cost_larger_than_the_bucket_is_paid_in_slices_at_the_quota() {
    let mut shaper = Shaper::new(quota(1000, 129), quota(1000, 200), 25);
    let peer = PeerId::random();
    shaper.enqueue(peer, Class::CatchUp, 32 * 1024, (), ZERO);
    let (mut now, mut steps) = (ZERO, 0);
    while shaper.advance(now).is_empty() {
        now = shaper.next().unwrap();
        steps += 1;
    }
    assert!((253..=255).contains(&steps), "{steps} slices");
    assert!(now > SECOND * 32 && now < SECOND * 33, "{now:?}");
}

#[test]
fn no_quota_and_no_cost_overflows() {
    let largest = quota(u32::MAX, u32::MAX);
    let mut shaper = Shaper::new(largest, largest, 255);
    let peer = PeerId::random();
    for now in [ZERO, SECOND, Duration::from_secs(u64::MAX)] {
        for class in [Class::NearHead, Class::CatchUp] {
            shaper.enqueue(peer, class, 1 << 20, (), now);
        }
        let mut granted = 0;
        for step in 0..64 {
            granted += shaper.advance(now.saturating_add(SECOND * step)).len();
        }
        assert!(granted <= 2);
    }
    let smallest = quota(1, 1);
    let mut shaper = Shaper::new(smallest, smallest, 0);
    shaper.enqueue(peer, Class::NearHead, u32::MAX, (), ZERO);
    assert!(shaper.advance(Duration::from_secs(3600 * 24 * 365)).is_empty(), "4 billion seconds are longer");
}

#[test]
fn a_cost_of_nothing_costs_one_cell() {
    let mut shaper = Shaper::new(quota(1, 1), AMPLE, 25);
    let peer = PeerId::random();
    shaper.enqueue(peer, Class::CatchUp, 0, 1, ZERO);
    shaper.enqueue(peer, Class::CatchUp, 0, 2, ZERO);
    assert_eq!(shaper.advance(ZERO), [1]);
}

/// Clients come, give up and are served in random order: what is paid for is what was granted or given up, and nothing is
/// kept of those who are gone.
#[test]
fn a_hundred_thousand_random_waits_leave_nothing_behind() {
    let mut rng = StdRng::seed_from_u64(11);
    let mut shaper = Shaper::new(quota(5_000, 300), quota(20_000, 500), 25);
    let ids = peers(40);
    let (mut waiting, mut now, mut number) = (Vec::new(), ZERO, 0_u64);
    for _ in 0..100_000 {
        match rng.random_range(0..4) {
            0 | 1 if waiting.len() < 200 => {
                let class = if rng.random() { Class::NearHead } else { Class::CatchUp };
                let peer = ids[rng.random_range(0..ids.len())];
                let cells = rng.random_range(1..400);
                waiting.push((number, shaper.enqueue(peer, class, cells, number, now)));
                number += 1;
            }
            2 if !waiting.is_empty() => {
                let (_, place) = waiting.swap_remove(rng.random_range(0..waiting.len()));
                shaper.cancel(place, now);
                shaper.cancel(place, now);
            }
            _ => now += Duration::from_micros(rng.random_range(0..20_000)),
        }
        for granted in shaper.advance(now) {
            let position = waiting.iter().position(|(number, _)| *number == granted);
            waiting.swap_remove(position.expect("granted twice, or given up"));
        }
        assert_eq!(shaper.waiting(), waiting.len());
        assert_eq!(shaper.next().is_none(), waiting.is_empty(), "somebody would wait for ever");
    }
    for (_, place) in waiting {
        shaper.cancel(place, now);
    }
    shaper.advance(now);
    assert_eq!((shaper.waiting(), shaper.next()), (0, None));
    shaper.forget_idle(now + SECOND * 60);
    assert_eq!(shaper.remembered(), 0);
}

#[test]
fn peers_that_come_once_are_forgotten_while_others_wait() {
    let mut shaper = Shaper::new(quota(1000, 129), AMPLE, 25);
    let greedy = PeerId::random();
    for _ in 0..100 {
        shaper.enqueue(greedy, Class::CatchUp, 129, (), ZERO);
    }
    for _ in 0..10_000 {
        shaper.enqueue(PeerId::random(), Class::CatchUp, 1, (), ZERO);
    }
    shaper.advance(ZERO);
    assert!(shaper.remembered() > 10_000);
    shaper.advance(SECOND * 2);
    shaper.forget_idle(SECOND * 2);
    assert!(shaper.remembered() <= 10, "{}", shaper.remembered());
    assert_eq!(shaper.waiting(), 98);
}
