//! How long somebody is waited for who holds up the order.

use super::*;
use crate::sync::scheduler::source::LEAST_WAIT;

/// A peer that holds this height and no other.
fn only(height: Height) -> Status {
    Status {
        earliest_value_height: height,
        earliest_payload_height: height,
        earliest_blob_height: height,
        ..status(height)
    }
}

/// Loads a height of blobs that `peer` alone holds, and gives what it is asked for. It answers `after` that, in full or
/// not at all; either way the blobs are there then.
fn ask_alone(bench: &mut Bench, peer: PeerId, height: Height, after: Duration, outcome: Outcome) {
    bench.scheduler.peer_status(peer, only(height));
    bench.scheduler.load(vec![Missing { payload: false, ..missing(height, 8) }], height);
    let actions = bench.poll();
    bench.now += after;
    for action in actions {
        let asked = items(&action);
        if outcome == Outcome::Answered {
            for item in &asked {
                bench.scheduler.received(action.id, Some(*item), SIDECAR_BYTES, bench.now);
                bench.now += Duration::from_millis(1);
            }
            bench.finish(&action, outcome, &asked);
        } else {
            bench.finish(&action, outcome, &[]);
        }
    }
    (0..8).for_each(|index| bench.scheduler.stored(Item::Blob(height, index)));
}

/// `late` is asked for a height that `others` come to hold as well, and is silent: after how long the first of these is
/// asked.
fn outrun_after(bench: &mut Bench, late: PeerId, others: &[PeerId]) -> Duration {
    bench.scheduler.peer_status(late, only(100));
    bench.scheduler.load(vec![Missing { payload: false, ..missing(100, 1) }], 100);
    assert_eq!(bench.poll()[0].source, late.into());
    others.iter().for_each(|peer| bench.scheduler.peer_status(*peer, only(100)));
    let (waited, hedge) = wait(bench).unwrap();
    assert_eq!(hedge.source, others[0].into());
    waited
}

fn data_bench() -> Bench {
    Bench::new(SchedulerConfig { follow: false, ..SchedulerConfig::default() }, 1000)
}

#[test]
fn who_is_late_has_no_say_in_what_late_is() {
    let mut bench = data_bench();
    let (swift, slow) = (PeerId::random(), PeerId::random());
    ask_alone(&mut bench, swift, 1, Duration::from_millis(20), Outcome::Answered);
    ask_alone(&mut bench, slow, 2, Duration::from_secs(3), Outcome::Answered);
    let waited = outrun_after(&mut bench, slow, &[swift]);
    assert!(waited <= Duration::from_millis(600), "{waited:?}");
}

#[test]
fn peers_that_do_not_have_what_they_claim_make_nobody_patient() {
    let mut bench = data_bench();
    let swift = PeerId::random();
    ask_alone(&mut bench, swift, 1, Duration::from_millis(20), Outcome::Answered);
    for (place, empty) in (0..3).map(|place| (place, PeerId::random())) {
        ask_alone(&mut bench, empty, 30 * place + 2, Duration::from_millis(20), Outcome::Answered);
        for height in 3..32 {
            ask_alone(&mut bench, empty, 30 * place + height, Duration::from_millis(20), Outcome::Unavailable);
        }
    }
    let waited = outrun_after(&mut bench, PeerId::random(), &[swift]);
    assert!(waited <= Duration::from_millis(600), "{waited:?}");
}

#[test]
fn who_was_fast_long_ago_is_asked_rather_than_nobody() {
    let mut bench = data_bench();
    let (swift, slow) = (PeerId::random(), PeerId::random());
    ask_alone(&mut bench, swift, 1, Duration::from_millis(20), Outcome::Answered);
    bench.now += Duration::from_secs(120);
    // Known, able, and not worth asking.
    ask_alone(&mut bench, slow, 2, Duration::from_secs(3), Outcome::Answered);
    let waited = outrun_after(&mut bench, PeerId::random(), &[swift, slow]);
    assert!(waited < Duration::from_secs(2), "{waited:?}");
}

#[test]
fn who_has_brought_little_is_asked_rather_than_nobody() {
    let mut bench = data_bench();
    let (near, slow) = (PeerId::random(), PeerId::random());
    // Enough to know the way to it, and too little to measure a rate by.
    bench.scheduler.peer_status(near, only(1));
    bench.scheduler.load(vec![missing(1, 0)], 1);
    let action = bench.poll().remove(0);
    bench.now += Duration::from_millis(20);
    let report =
        Report { received: items(&action).into_iter().collect(), bytes: 1000, ..Report::empty(Outcome::Answered) };
    bench.scheduler.finished(action.id, &report, bench.now);
    bench.scheduler.stored(Item::Payload(1));
    // Known, able, and not worth asking as long as there is the other.
    ask_alone(&mut bench, slow, 2, Duration::from_secs(3), Outcome::Answered);
    let waited = outrun_after(&mut bench, PeerId::random(), &[near, slow]);
    assert!(waited < Duration::from_secs(2), "{waited:?}");
}

/// A bench with one swift peer, the first of those given, among many slow ones.
fn one_swift_of_many() -> (Bench, Vec<PeerId>) {
    let mut bench = data_bench();
    let peers: Vec<PeerId> = (0..4).map(|_| PeerId::random()).collect();
    for (height, peer) in (1..).zip(&peers) {
        let after = if height == 1 { Duration::from_millis(20) } else { Duration::from_secs(3) };
        ask_alone(&mut bench, *peer, height, after, Outcome::Answered);
    }
    (bench, peers)
}

#[test]
fn who_is_silent_is_waited_for_no_longer_than_somebody_better_would_take() {
    let (mut bench, peers) = one_swift_of_many();
    let waited = outrun_after(&mut bench, PeerId::random(), &peers);
    assert!(waited <= Duration::from_millis(600), "{waited:?}");
}

#[test]
fn who_sends_on_is_waited_for_no_longer_than_somebody_better_would_take() {
    let (mut bench, peers) = one_swift_of_many();
    let slow = PeerId::random();
    bench.scheduler.peer_status(slow, only(100));
    bench.scheduler.load(vec![Missing { payload: false, ..missing(100, 8) }], 100);
    let first = bench.poll().remove(0);
    assert_eq!(first.source, slow.into());
    peers.iter().for_each(|peer| bench.scheduler.peer_status(*peer, only(100)));
    let start = bench.now;
    let hedge = items(&first).into_iter().find_map(|item| {
        bench.now += Duration::from_millis(200);
        bench.scheduler.received(first.id, Some(item), SIDECAR_BYTES, bench.now);
        bench.poll().pop()
    });
    assert_eq!(hedge.unwrap().source, peers[0].into());
    assert!(bench.now - start <= Duration::from_millis(800), "{:?}", bench.now - start);
}

#[test]
fn who_is_slow_with_one_height_after_the_other_is_late_as_well() {
    let (mut bench, peers) = one_swift_of_many();
    let slow = PeerId::random();
    bench.scheduler.peer_status(slow, Status { decided_height: 107, available_height: 107, ..only(100) });
    let heights = (100..=107).map(|height| Missing { payload: false, ..missing(height, 1) }).collect();
    bench.scheduler.load(heights, 107);
    let first = bench.poll().remove(0);
    assert_eq!((first.source, items(&first).len()), (slow.into(), 8));
    peers.iter().for_each(|peer| bench.scheduler.peer_status(*peer, status(1000)));
    let start = bench.now;
    let hedge = items(&first).into_iter().find_map(|item| {
        // Never silent for long, and never long at the same height.
        bench.now += LEAST_WAIT - Duration::from_millis(10);
        bench.scheduler.received(first.id, Some(item), SIDECAR_BYTES, bench.now);
        bench.scheduler.stored(item);
        bench.poll().pop()
    });
    assert_eq!(hedge.unwrap().source, peers[0].into());
    assert!(bench.now - start <= Duration::from_millis(800), "{:?}", bench.now - start);
}

/// Whether a silent peer is exchanged for one who sends a blob each time that `gap` has passed, and has all that it may
/// have in flight. `None` if for nobody.
fn is_exchanged_for_busy(gap: Duration, is_somebody_idle: bool) -> Option<bool> {
    let mut bench = data_bench();
    let (late, busy, idle) = (PeerId::random(), PeerId::random(), PeerId::random());
    bench.scheduler.peer_status(busy, only(1));
    bench.scheduler.load(vec![Missing { payload: false, ..missing(1, 8) }], 1);
    slowly(&mut bench, gap);
    // It begins to send after 0.7 s.
    ask_alone(&mut bench, idle, 2, Duration::from_millis(700), Outcome::Answered);
    bench.scheduler.peer_status(late, only(100));
    bench.scheduler.load(vec![Missing { payload: false, ..missing(100, 8) }], 100);
    assert_eq!(bench.poll()[0].source, late.into());
    let from = |height| Status { decided_height: 200, available_height: 200, ..only(height) };
    bench.scheduler.peer_status(busy, from(101));
    bench.scheduler.load((101..=110).map(|height| Missing { payload: false, ..missing(height, 8) }).collect(), 110);
    assert!(bench.poll().iter().all(|action| action.source == busy.into()));
    bench.scheduler.peer_status(busy, from(100));
    bench.scheduler.peer_status(idle, only(if is_somebody_idle { 100 } else { 2 }));
    assert!(bench.poll().is_empty(), "nobody has room for more");
    let (_, hedge) = wait(&mut bench)?;
    assert_eq!(items(&hedge)[0].height(), 100);
    Some(hedge.source == busy.into())
}

#[test]
fn a_second_request_goes_to_somebody_busy_who_is_soon_done() {
    assert_eq!(is_exchanged_for_busy(Duration::from_millis(1), true), Some(true));
    assert_eq!(is_exchanged_for_busy(Duration::from_millis(1), false), Some(true));
}

#[test]
fn a_second_request_does_not_wait_behind_what_takes_long() {
    assert_eq!(is_exchanged_for_busy(Duration::from_millis(100), true), Some(false));
    assert_eq!(is_exchanged_for_busy(Duration::from_millis(100), false), None);
}

/// A bench with a swift peer, and requests for the heights 100 and 101 to others, who have sent nothing yet.
fn two_asked() -> (Bench, PeerId, Vec<Action>) {
    let mut bench = data_bench();
    let (swift, first, second) = (PeerId::random(), PeerId::random(), PeerId::random());
    ask_alone(&mut bench, swift, 1, Duration::from_millis(20), Outcome::Answered);
    for (height, peer) in [(100, first), (101, second)] {
        bench.scheduler.peer_status(peer, only(height));
        bench.scheduler.load(vec![Missing { payload: false, ..missing(height, 1) }], height);
    }
    let asked = bench.poll();
    assert_eq!(asked.iter().map(|action| action.source).collect::<Vec<_>>(), [first.into(), second.into()]);
    (bench, swift, asked)
}

/// The first of the two answers. The swift peer has the second height as well.
fn first_answers(bench: &mut Bench, swift: PeerId, asked: &[Action]) {
    bench.scheduler.received(asked[0].id, Some(Item::Blob(100, 0)), SIDECAR_BYTES, bench.now);
    bench.finish(&asked[0], Outcome::Answered, &items(&asked[0]));
    bench.scheduler.peer_status(swift, only(101));
}

#[test]
fn nobody_is_late_before_it_is_its_turn() {
    let (mut bench, swift, asked) = two_asked();
    // The line is slow, and both answers come one after the other, a long time after they were asked for.
    bench.now += Duration::from_secs(5);
    first_answers(&mut bench, swift, &asked);
    assert!(bench.poll().is_empty(), "it is its turn now");
    let (waited, hedge) = wait(&mut bench).unwrap();
    assert_eq!((hedge.source, items(&hedge)), (swift.into(), items(&asked[1])));
    assert!(waited <= LEAST_WAIT + Scheduler::TICK, "{waited:?}");
}

#[test]
fn who_has_no_place_and_sends_nothing_is_not_waited_for() {
    let mut bench = data_bench();
    let (stuck, slow) = (PeerId::random(), PeerId::random());
    ask_alone(&mut bench, stuck, 1, Duration::from_millis(20), Outcome::Answered);
    ask_alone(&mut bench, slow, 2, Duration::from_millis(700), Outcome::Answered);
    // All that was asked for has come, and neither answer ends.
    for height in [3, 4] {
        bench.scheduler.peer_status(stuck, only(height));
        bench.scheduler.load(vec![Missing { payload: false, ..missing(height, 1) }], height);
        let action = bench.poll().remove(0);
        bench.scheduler.received(action.id, Some(Item::Blob(height, 0)), SIDECAR_BYTES, bench.now);
        bench.scheduler.stored(Item::Blob(height, 0));
    }
    [stuck, slow].iter().for_each(|peer| bench.scheduler.peer_status(*peer, only(5)));
    bench.scheduler.load(vec![Missing { payload: false, ..missing(5, 1) }], 5);
    assert!(bench.poll().is_empty(), "the better one may be free at any moment");
    let (waited, action) = wait(&mut bench).unwrap();
    assert_eq!(action.source, slow.into());
    assert!(waited <= Duration::from_millis(600), "{waited:?}");
}

#[test]
fn whose_turn_it_would_have_been_before_others_is_late_at_once() {
    let (mut bench, swift, asked) = two_asked();
    bench.now += Duration::from_secs(1);
    ask_alone(&mut bench, swift, 102, Duration::from_millis(20), Outcome::Answered);
    first_answers(&mut bench, swift, &asked);
    let hedge = bench.poll().remove(0);
    assert_eq!((hedge.source, items(&hedge)), (swift.into(), items(&asked[1])));
}
