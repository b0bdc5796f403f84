#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use lapis_protocol_spec::Status;

use super::*;

const MIB: u64 = 1024 * 1024;
const METHOD: Method = Method::BlobsByRange;

/// A source that nobody knows.
fn stranger() -> Source {
    let status = Status { decided_height: 100, ..Status::default() };
    Source::new(Claims::Peer { status, announced: 0 })
}

/// One that has shown how fast it is, by an answer that we cut short.
fn source() -> Source {
    let mut source = stranger();
    let elapsed = Duration::from_millis(100);
    source.started(METHOD, MIB, Instant::now());
    source.ended(
        METHOD,
        Delivery { outcome: Outcome::Local, asked: MIB, unarrived: MIB, arrived: MIB, is_short: false, elapsed },
        Instant::now(),
    );
    source
}

/// An exchange of one MiB that takes a tenth of a second and ends like this.
fn exchange(source: &mut Source, outcome: Outcome, now: Instant) {
    source.started(METHOD, MIB, now);
    let arrived = if outcome == Outcome::Answered { MIB } else { 0 };
    let elapsed = Duration::from_millis(100);
    source.ended(METHOD, Delivery { outcome, asked: MIB, unarrived: MIB, arrived, is_short: false, elapsed }, now);
}

#[test]
fn rate_limited_answers_lower_the_pace_and_it_recovers() {
    let (mut source, mut now) = (source(), Instant::now());
    let mut waits = Vec::new();
    for _ in 0..10 {
        exchange(&mut source, Outcome::RateLimited, now);
        assert!(!source.is_free(METHOD, now), "it is left alone for a while");
        let wait = (0..).map(|step| FIRST_PAUSE * step).find(|wait| source.is_free(METHOD, now + *wait)).unwrap();
        waits.push(wait);
        now += wait;
    }
    assert!(waits.windows(2).all(|pair| pair[0] <= pair[1]), "longer each time: {waits:?}");
    assert_eq!(*waits.last().unwrap(), LONGEST_PAUSE, "but never for ever");
    assert_eq!(source.room(), MIN_WINDOW);
    for answered in 1..=100 {
        exchange(&mut source, Outcome::Answered, now);
        assert!(source.is_free(METHOD, now));
        assert_eq!(source.room(), (MIN_WINDOW + answered * WINDOW_STEP).min(MAX_WINDOW));
    }
    exchange(&mut source, Outcome::RateLimited, now);
    assert!(source.is_free(METHOD, now + FIRST_PAUSE), "what was long ago is forgotten");
}

#[test]
fn exchanges_that_are_limited_together_count_as_one() {
    let (mut source, now) = (source(), Instant::now());
    for _ in 0..8 {
        exchange(&mut source, Outcome::RateLimited, now);
    }
    assert_eq!(source.room(), INITIAL_WINDOW / 2);
    assert!(source.is_free(METHOD, now + FIRST_PAUSE));
}

#[test]
fn who_is_asked_second_and_outrun_at_once_is_not_left_alone_for_that() {
    let (mut source, now) = (source(), Instant::now());
    for _ in 0..10 {
        // After a tenth of a second, which is sooner than anybody is late.
        exchange(&mut source, Outcome::Outrun, now);
        assert!(source.is_free(METHOD, now));
    }
    source.started(METHOD, MIB, now);
    let late = Delivery {
        outcome: Outcome::Outrun,
        asked: MIB,
        unarrived: MIB,
        arrived: 0,
        is_short: false,
        elapsed: LEAST_WAIT,
    };
    source.ended(METHOD, late, now);
    assert!(!source.is_free(METHOD, now), "silence is");
}

#[test]
fn what_a_peer_does_not_have_does_not_change_its_pace() {
    let (mut source, now) = (source(), Instant::now());
    for outcome in [Outcome::Unavailable, Outcome::Local] {
        exchange(&mut source, outcome, now);
        assert!(source.is_free(METHOD, now));
        assert_eq!(source.room(), INITIAL_WINDOW);
    }
}

#[test]
fn no_more_is_in_flight_than_the_window() {
    let mut source = source();
    let mut asked = 0;
    while source.room() >= MIB {
        source.started(METHOD, MIB, Instant::now());
        asked += MIB;
    }
    assert_eq!(asked, INITIAL_WINDOW);
}

#[test]
fn a_stranger_is_asked_for_little_until_it_has_shown_what_it_can() {
    let (mut source, now) = (stranger(), Instant::now());
    assert_eq!(source.room(), FIRST_WINDOW);
    exchange(&mut source, Outcome::Answered, now);
    assert_eq!(source.room(), INITIAL_WINDOW + MIB, "it grows by what was asked for");
    exchange(&mut source, Outcome::Broken, now);
    exchange(&mut source, Outcome::Answered, now);
    assert_eq!(source.room(), (INITIAL_WINDOW + MIB) / 2 + WINDOW_STEP, "and by a step once something went wrong");
}

#[test]
fn answers_that_take_long_halve_the_window_once_in_that_time() {
    let (mut source, now) = (source(), Instant::now());
    let slow = |source: &mut Source, now| {
        source.started(METHOD, MIB, now);
        let elapsed = LONG_ANSWER * 2;
        source.ended(
            METHOD,
            Delivery { outcome: Outcome::Answered, asked: MIB, unarrived: 0, arrived: MIB, is_short: false, elapsed },
            now,
        );
        source.in_flight_bytes = 0;
    };
    slow(&mut source, now);
    slow(&mut source, now);
    assert_eq!(source.room(), INITIAL_WINDOW / 2);
    slow(&mut source, now + LONG_ANSWER);
    assert_eq!(source.room(), INITIAL_WINDOW / 4);
}

#[test]
fn who_answers_in_part_again_and_again_is_left_alone_for_longer_each_time() {
    let (mut source, mut now, elapsed) = (source(), Instant::now(), Duration::from_millis(100));
    let mut answer = |is_short, now| {
        source.started(METHOD, MIB, now);
        let delivery =
            Delivery { outcome: Outcome::Answered, asked: MIB, unarrived: 0, arrived: MIB / 2, is_short, elapsed };
        source.ended(METHOD, delivery, now);
        (0..).map(|step| FIRST_PAUSE * step).find(|wait| source.is_free(METHOD, now + *wait)).unwrap()
    };
    for _ in 0..TOLERATED_SHORT_ANSWERS {
        assert_eq!(answer(true, now), Duration::ZERO, "what it had may have been pruned a moment ago");
    }
    for expected in [FIRST_PAUSE, 2 * FIRST_PAUSE, 4 * FIRST_PAUSE] {
        assert_eq!(answer(true, now), expected);
        now += expected;
    }
    assert_eq!(answer(false, now), Duration::ZERO);
    assert_eq!(answer(true, now), Duration::ZERO, "a whole answer makes up for it");
}
