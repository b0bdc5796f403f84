//! Second requests for what holds up the order.

mod patience;

use super::*;

/// Two peers that delivered before, and one height of `blobs` blobs that the first was asked for; it is silent since.
struct Late {
    bench: Bench,
    first: Action,
    second: PeerId,
}

fn warm(bench: &mut Bench, height: Height) {
    bench.scheduler.load(vec![missing(height, 8)], height);
    for _ in 0..50 {
        let actions = bench.poll();
        if actions.is_empty() {
            break;
        }
        bench.now += Duration::from_millis(20);
        for action in actions {
            for item in items(&action) {
                bench.scheduler.received(action.id, Some(item), SIDECAR_BYTES, bench.now);
                bench.now += Duration::from_millis(1);
            }
            bench.finish(&action, Outcome::Answered, &items(&action));
            items(&action).into_iter().for_each(|item| bench.scheduler.stored(item));
        }
    }
    assert_eq!(bench.scheduler.buffered_bytes(), 0, "all of {height} is there");
}

fn late(config: SchedulerConfig, blobs: u64) -> Late {
    let mut bench = Bench::new(SchedulerConfig { follow: false, ..config }, 1000);
    let peers = [PeerId::random(), PeerId::random()];
    for (height, peer) in (1..).zip(peers) {
        bench.scheduler.peer_status(peer, status(1000));
        warm(&mut bench, height);
    }
    // The payload is not what this is about.
    let gap = Missing { payload: false, ..missing(100, blobs) };
    bench.scheduler.load(vec![gap], 100);
    let first = bench.poll().remove(0);
    let second = peers.into_iter().find(|peer| first.source != (*peer).into()).unwrap();
    Late { bench, first, second }
}

/// Polls until somebody is asked, or ten seconds are over. Gives after how long that was.
fn wait(bench: &mut Bench) -> Option<(Duration, Action)> {
    let start = bench.now;
    for _ in 0..200 {
        bench.now += Scheduler::TICK;
        if let Some(action) = bench.poll().into_iter().next() {
            return Some((bench.now - start, action));
        }
    }
    None
}

#[test]
fn what_is_late_is_asked_of_somebody_else_and_what_is_not_late_is_not() {
    let Late { mut bench, first, second } = late(SchedulerConfig::default(), 2);
    let (waited, hedge) = wait(&mut bench).unwrap();
    assert!(waited >= Duration::from_millis(250) && waited < Duration::from_secs(2), "{waited:?}");
    assert_eq!((hedge.source, items(&hedge)), (second.into(), items(&first)));
    assert_eq!(bench.scheduler.stats().hedges, 1);
}

#[test]
fn the_faster_one_wins_and_the_other_is_cancelled() {
    let Late { mut bench, first, .. } = late(SchedulerConfig::default(), 2);
    let (_, hedge) = wait(&mut bench).unwrap();
    bench.scheduler.received(hedge.id, Some(Item::Blob(100, 0)), SIDECAR_BYTES, bench.now);
    assert_eq!(bench.scheduler.cancellations(bench.now), vec![first.id]);
    assert!(bench.scheduler.cancellations(bench.now).is_empty(), "once");
    bench.finish(&first, Outcome::Local, &[]);
    bench.finish(&hedge, Outcome::Answered, &items(&hedge));
    items(&hedge).into_iter().for_each(|item| bench.scheduler.stored(item));
    assert_eq!((bench.scheduler.buffered_bytes(), bench.scheduler.in_flight()), (0, 0));
    let stats = bench.scheduler.stats();
    assert_eq!((stats.hedges, stats.hedges_won, stats.wasted_bytes), (1, 1, 0));
}

#[test]
fn the_first_one_may_answer_after_all_and_the_second_is_cancelled() {
    let Late { mut bench, first, .. } = late(SchedulerConfig::default(), 2);
    let (_, hedge) = wait(&mut bench).unwrap();
    bench.scheduler.received(first.id, Some(Item::Blob(100, 0)), SIDECAR_BYTES, bench.now);
    assert!(bench.scheduler.cancellations(bench.now).is_empty(), "the second may still bring the other blob first");
    bench.scheduler.received(first.id, Some(Item::Blob(100, 1)), SIDECAR_BYTES, bench.now);
    assert_eq!(bench.scheduler.cancellations(bench.now), vec![hedge.id]);
    bench.finish(&first, Outcome::Answered, &items(&first));
    bench.finish(&hedge, Outcome::Local, &[]);
    assert_eq!(bench.scheduler.stats().hedges_won, 0);
    items(&first).into_iter().for_each(|item| bench.scheduler.stored(item));
    assert_eq!(bench.scheduler.buffered_bytes(), 0);
}

#[test]
fn both_answer_and_the_second_is_dropped_without_blame() {
    let Late { mut bench, first, .. } = late(SchedulerConfig::default(), 1);
    let (_, hedge) = wait(&mut bench).unwrap();
    bench.finish(&hedge, Outcome::Answered, &items(&hedge));
    let report = Report {
        duplicates: items(&first).into_iter().collect(),
        duplicate_bytes: SIDECAR_BYTES,
        bytes: SIDECAR_BYTES,
        ..Report::empty(Outcome::Answered)
    };
    bench.scheduler.finished(first.id, &report, bench.now);
    bench.scheduler.stored(Item::Blob(100, 0));
    assert_eq!((bench.scheduler.buffered_bytes(), bench.scheduler.in_flight()), (0, 0));
    assert_eq!(bench.scheduler.stats().wasted_bytes, SIDECAR_BYTES);
    // It is asked for the same height again at once: nothing is held against it.
    bench.scheduler.reload_from(100);
    bench.scheduler.load(vec![Missing { payload: false, ..missing(100, 300) }], 100);
    let asked: BTreeSet<SourceId> = bench.poll().into_iter().map(|action| action.source).collect();
    assert!(asked.contains(&first.source), "{asked:?}");
}

#[test]
fn the_second_may_be_much_slower_than_the_first_one_was() {
    let mut bench = Bench::new(SchedulerConfig { follow: false, ..SchedulerConfig::default() }, 1000);
    let (fast, slow) = (PeerId::random(), PeerId::random());
    // What the slow one has shown is one blob in four seconds.
    bench.scheduler.peer_status(slow, status(1000));
    bench.scheduler.load(vec![Missing { payload: false, ..missing(1, 1) }], 1);
    let shown = bench.poll().remove(0);
    bench.now += Duration::from_secs(4);
    bench.finish(&shown, Outcome::Answered, &items(&shown));
    bench.scheduler.stored(Item::Blob(1, 0));
    bench.scheduler.peer_gone(slow);
    bench.scheduler.peer_status(fast, status(1000));
    warm(&mut bench, 2);
    bench.scheduler.load(vec![Missing { payload: false, ..missing(3, 4) }], 3);
    let first = bench.poll().remove(0);
    bench.scheduler.peer_status(slow, status(1000));
    let (_, hedge) = wait(&mut bench).unwrap();
    assert_eq!((hedge.source, items(&hedge)), (slow.into(), items(&first)));
}

/// Two peers that have delivered, an item each time that `gap` had passed.
fn two_known(gap: Duration) -> (Bench, [PeerId; 2]) {
    let mut bench = Bench::new(SchedulerConfig { follow: false, ..SchedulerConfig::default() }, 1000);
    let peers = [PeerId::random(), PeerId::random()];
    for (height, peer) in (1..).zip(peers) {
        peers.iter().for_each(|other| bench.scheduler.peer_gone(*other));
        bench.scheduler.peer_status(peer, status(1000));
        bench.scheduler.load(vec![Missing { payload: false, ..missing(height, 8) }], height);
        slowly(&mut bench, gap);
    }
    peers.iter().for_each(|peer| bench.scheduler.peer_status(*peer, status(1000)));
    bench.scheduler.load(vec![Missing { payload: false, ..missing(100, 8) }], 100);
    (bench, peers)
}

#[test]
fn who_sends_on_but_takes_much_longer_than_the_others_is_late_as_well() {
    let (mut bench, peers) = two_known(Duration::from_millis(5));
    let (first, start) = (bench.poll().remove(0), bench.now);
    for item in items(&first) {
        // Never silent for long.
        bench.now += Duration::from_millis(200);
        bench.scheduler.received(first.id, Some(item), SIDECAR_BYTES, bench.now);
        let Some(hedge) = bench.poll().pop() else { continue };
        assert!(bench.now - start < Duration::from_secs(1), "{:?}", bench.now - start);
        assert!(hedge.source != first.source && peers.map(SourceId::from).contains(&hedge.source));
        let left: Vec<Item> = items(&first).into_iter().filter(|left| *left > item).collect();
        assert_eq!(items(&hedge), left, "what has come is not asked for again");
        return;
    }
    panic!("what could have been here in milliseconds was waited for until {:?}", bench.now - start);
}

#[test]
fn where_all_are_slow_nobody_is_late() {
    let gap = Duration::from_millis(200);
    let (mut bench, _) = two_known(gap);
    slowly(&mut bench, gap);
    assert_eq!(bench.scheduler.stats().hedges, 0);
}

/// Whoever is asked sends an item each time that `gap` has passed.
fn slowly(bench: &mut Bench, gap: Duration) {
    for action in bench.poll() {
        for item in items(&action) {
            bench.now += gap;
            bench.scheduler.received(action.id, Some(item), SIDECAR_BYTES, bench.now);
            assert!(bench.poll().is_empty(), "after {item:?}");
        }
        bench.finish(&action, Outcome::Answered, &items(&action));
        items(&action).into_iter().for_each(|item| bench.scheduler.stored(item));
    }
}

#[test]
fn only_the_lowest_height_is_worth_it() {
    let Late { mut bench, .. } = late(SchedulerConfig::default(), 1);
    bench.scheduler.load(vec![Missing { payload: false, ..missing(101, 1) }], 101);
    let higher = bench.poll();
    assert_eq!(higher.len(), 1);
    let (_, hedge) = wait(&mut bench).unwrap();
    assert_eq!(items(&hedge), vec![Item::Blob(100, 0)]);
}

#[test]
fn no_more_is_asked_for_twice_than_the_budget_and_none_without_one() {
    let budget = 3 * SIDECAR_BYTES;
    let Late { mut bench, .. } = late(SchedulerConfig { hedge_bytes: budget, ..SchedulerConfig::default() }, 8);
    let (_, hedge) = wait(&mut bench).unwrap();
    assert_eq!(items(&hedge).len(), 3);
    assert!(wait(&mut bench).is_none_or(|(_, action)| items(&action).len() <= 3));
    let Late { mut bench, .. } = late(SchedulerConfig { hedge_bytes: 0, ..SchedulerConfig::default() }, 8);
    assert!(wait(&mut bench).is_none());
}

#[test]
fn a_second_one_that_is_late_itself_makes_place_for_a_third() {
    let Late { mut bench, first, second } = late(SchedulerConfig::default(), 1);
    let third = PeerId::random();
    bench.scheduler.peer_status(third, status(1000));
    let (_, hedge) = wait(&mut bench).unwrap();
    assert_ne!(hedge.source, first.source);
    let cancelled = loop {
        bench.now += Scheduler::TICK;
        bench.poll();
        if let Some(cancelled) = bench.scheduler.cancellations(bench.now).pop() {
            break cancelled;
        }
    };
    assert_eq!(cancelled, hedge.id);
    bench.finish(&hedge, Outcome::Local, &[]);
    let (_, next) = wait(&mut bench).unwrap();
    assert!([SourceId::from(second), third.into()].contains(&next.source) && next.source != hedge.source);
}

#[test]
fn values_that_hold_up_the_order_are_asked_for_twice_and_taken_once() {
    let mut bench = Bench::new(SchedulerConfig::default(), 0);
    let peers = [PeerId::random(), PeerId::random()];
    peers.iter().for_each(|peer| bench.scheduler.peer_status(*peer, status(10)));
    let first = bench.poll().remove(0);
    let (_, hedge) = wait(&mut bench).unwrap();
    assert_eq!(hedge.fetch, first.fetch);
    let report = |outcome| Report { values: 10, bytes: 5000, ..Report::empty(outcome) };
    let ended = bench.scheduler.finished(hedge.id, &report(Outcome::Answered), bench.now);
    assert_eq!(ended, Ended::Values(1..11));
    assert_eq!(bench.scheduler.cancellations(bench.now), vec![first.id]);
    assert_eq!(bench.scheduler.finished(first.id, &report(Outcome::Answered), bench.now), Ended::Other);
    assert_eq!(bench.scheduler.stats().hedges_won, 1);
}

#[test]
fn who_does_not_have_it_costs_nothing_of_the_budget() {
    let budget = SchedulerConfig { hedge_bytes: 2 * SIDECAR_BYTES, ..SchedulerConfig::default() };
    let Late { mut bench, second, .. } = late(budget, 1);
    for round in 0..6 {
        let (_, hedge) = wait(&mut bench).unwrap_or_else(|| panic!("nobody is asked in round {round}"));
        assert_eq!(hedge.source, second.into());
        bench.finish(&hedge, Outcome::Unavailable, &[]);
        bench.now += Duration::from_secs(30);
    }
}
