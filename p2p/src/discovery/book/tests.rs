#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use libp2p::multiaddr::Protocol;
use rand::{SeedableRng, rngs::StdRng};

use super::*;

const RULES: Redial = Redial {
    first_delay: Duration::from_secs(10),
    longest_delay: Duration::from_secs(3600),
    unsuitable_delay: Duration::from_secs(6 * 3600),
};

fn rng() -> StdRng {
    StdRng::seed_from_u64(7)
}

fn address(number: u32) -> Multiaddr {
    Multiaddr::from(std::net::Ipv4Addr::from(0x0b00_0000 + number * 256)).with(Protocol::Tcp(9650))
}

fn all(_: &PeerId) -> bool {
    true
}

fn due(book: &Book, now: Instant) -> usize {
    book.len() - book.resting(now).len()
}

fn draw(book: &Book, now: Instant, rng: &mut StdRng) -> Option<Candidate> {
    book.draw(now, all, |_| false, rng)
}

#[test]
fn a_peer_without_addresses_is_no_candidate() {
    let (mut book, now) = (Book::new(RULES), Instant::now());
    assert!(!book.learn(PeerId::random(), [], now, &mut rng()));
    assert_eq!(book.len(), 0);
}

#[test]
fn failures_double_the_delay_and_hearsay_is_forgotten_after_three() {
    let (mut book, mut now, peer) = (Book::new(RULES), Instant::now(), PeerId::random());
    assert!(book.learn(peer, [address(1)], now, &mut rng()));
    assert!(!book.learn(peer, [address(2)], now, &mut rng()), "known already");
    for seconds in [10, 20] {
        book.failed(&peer, Setback::Unreachable, now, 1.0);
        assert_eq!(due(&book, now + Duration::from_secs(seconds) - Duration::from_millis(1)), 0);
        assert!(book.resting(now).contains(&peer));
        now += Duration::from_secs(seconds);
        assert_eq!(due(&book, now), 1);
    }
    book.failed(&peer, Setback::Unreachable, now, 1.0);
    assert_eq!(book.len(), 0);
}

#[test]
fn who_was_reached_is_tried_for_long_and_success_resets_the_back_off() {
    let (mut book, now, peer) = (Book::new(RULES), Instant::now(), PeerId::random());
    book.ready(peer, address(1), now, &mut rng());
    for _ in 0..PROVEN_FAILURES - 1 {
        book.failed(&peer, Setback::Unreachable, now, 1.0);
    }
    assert_eq!(due(&book, now + RULES.longest_delay), 1);
    book.ready(peer, address(1), now, &mut rng());
    book.failed(&peer, Setback::Unreachable, now, 1.0);
    assert_eq!(due(&book, now + RULES.first_delay), 1);
}

#[test]
fn another_chain_is_left_alone_for_long_and_not_kept() {
    let (mut book, now, peer) = (Book::new(RULES), Instant::now(), PeerId::random());
    book.ready(peer, address(1), now, &mut rng());
    book.failed(&peer, Setback::Unsuitable, now, 1.0);
    book.failed(&peer, Setback::Unreachable, now, 0.0);
    assert!(!book.learn(peer, [address(2)], now, &mut rng()), "it is not made a new one by telling of it");
    assert_eq!(due(&book, now + RULES.unsuitable_delay - Duration::from_secs(1)), 0);
    assert_eq!(due(&book, now + RULES.unsuitable_delay), 1);
    assert!(book.proven().is_empty());
}

#[test]
fn addresses_that_worked_come_first_and_are_not_pushed_out() {
    let (mut book, now, peer) = (Book::new(RULES), Instant::now(), PeerId::random());
    book.learn(peer, (0..100).map(address), now, &mut rng());
    book.ready(peer, address(3), now, &mut rng());
    for number in 1000..1100 {
        book.learn(peer, [address(number)], now, &mut rng());
    }
    let candidate = draw(&book, now, &mut rng()).unwrap();
    assert_eq!(candidate.addresses.len(), ADDRESSES_PER_PEER);
    assert_eq!(candidate.addresses[0], address(3));
    book.forget_address(&peer, &address(3));
    assert!(!draw(&book, now, &mut rng()).unwrap().addresses.contains(&address(3)));
}

#[test]
fn a_liar_who_tells_of_many_does_not_push_out_who_was_reached() {
    let (mut book, now, mut rng) = (Book::new(RULES), Instant::now(), rng());
    let honest: Vec<_> = (0..).take(CAPACITY / 2).map(|number| (PeerId::random(), address(number))).collect();
    for (peer, address) in &honest {
        book.ready(*peer, address.clone(), now, &mut rng);
    }
    for number in 0..20_000 {
        book.learn(PeerId::random(), [address(number)], now, &mut rng);
    }
    assert_eq!(book.len(), CAPACITY);
    assert_eq!(book.proven().len(), honest.len());
    // Nor are they drowned: every third draw is one of them.
    let reached: HashSet<_> = honest.iter().map(|(peer, _)| *peer).collect();
    let drawn = (0..1000).filter(|_| reached.contains(&draw(&book, now, &mut rng).unwrap().peer)).count();
    assert!((250..420).contains(&drawn), "{drawn}");
}

#[test]
fn who_was_reached_longest_ago_makes_place_when_all_were() {
    let (mut book, start, mut rng) = (Book::new(RULES), Instant::now(), rng());
    let peers: Vec<_> = (0..=CAPACITY).map(|_| PeerId::random()).collect();
    for (number, peer) in peers.iter().enumerate() {
        book.ready(*peer, address(1), start + Duration::from_secs(number as u64), &mut rng);
    }
    assert_eq!(book.len(), CAPACITY);
    let kept = book.proven();
    assert!(kept.iter().all(|proven| proven.peer != peers[0]));
    assert_eq!(kept[0].peer, peers[CAPACITY], "the last one first");
}

#[test]
fn a_useful_peer_is_preferred_and_a_useless_one_is_no_reason_to_rotate() {
    let (mut book, now, mut rng) = (Book::new(RULES), Instant::now(), rng());
    let (useful, tried) = (PeerId::random(), PeerId::random());
    book.ready(tried, address(1), now, &mut rng);
    assert_eq!(book.promising(now, all), 0);
    book.ready(useful, address(2), now, &mut rng);
    book.useful(&useful, USEFUL_BYTES);
    assert_eq!(book.promising(now, all), 1);
    let drawn = (0..1000).filter(|_| draw(&book, now, &mut rng).unwrap().peer == useful).count();
    assert!((580..750).contains(&drawn), "{drawn}");
}

#[test]
fn nobody_is_drawn_from_a_crowded_neighbourhood() {
    let (mut book, now) = (Book::new(RULES), Instant::now());
    book.learn(PeerId::random(), [address(1)], now, &mut rng());
    assert!(book.draw(now, all, |_| true, &mut rng()).is_none());
    assert!(book.draw(now, |_| false, |_| false, &mut rng()).is_none());
    assert!(draw(&book, now, &mut rng()).is_some());
}

#[test]
fn what_is_kept_can_be_taken_up() {
    let (mut book, now, peer) = (Book::new(RULES), Instant::now(), PeerId::random());
    book.learn(PeerId::random(), [address(9)], now, &mut rng());
    book.ready(peer, address(1), now, &mut rng());
    book.useful(&peer, 5);
    book.seen(&peer, now + Duration::from_secs(1));
    let kept = book.proven();
    assert_eq!(kept.len(), 1, "hearsay is not kept");
    assert_eq!((kept[0].useful_bytes, kept[0].seen), (5, now + Duration::from_secs(1)));
    let mut next = Book::new(RULES);
    next.restore(kept[0].clone(), now, &mut rng());
    assert_eq!(draw(&next, now, &mut rng()).unwrap().addresses, [address(1)]);
}
