//! The validator set that signs the next height.

use lapis_protocol_spec::{Bytes32, MAX_CONCURRENT_REQUESTS};

use super::*;

/// Everybody has decided height 5, whose value names the set that signs height 6.
const DECIDED: Height = 5;
const ROOT: Bytes32 = Bytes32::ZERO;
const ROUND_TRIP: Duration = Duration::from_millis(40);

fn at_the_head(peers: usize) -> (Bench, Vec<PeerId>) {
    let mut bench = Bench::new(SchedulerConfig::default(), DECIDED);
    bench.scheduler.load(Vec::new(), DECIDED);
    let peers: Vec<PeerId> = (0..peers).map(|_| PeerId::random()).collect();
    peers.iter().for_each(|peer| bench.scheduler.peer_status(*peer, status(DECIDED)));
    bench.scheduler.want_validator_set(ROOT, DECIDED + 1);
    (bench, peers)
}

impl Bench {
    /// Polls, and gives what is asked for a set.
    fn asked_for_set(&mut self) -> Vec<Action> {
        let wanted = Fetch::ValidatorSet { root: ROOT, height: DECIDED + 1 };
        self.poll().into_iter().filter(|action| action.fetch == wanted).collect()
    }

    fn end_set(&mut self, action: &Action, has_come: bool) {
        let outcome = if has_come { Outcome::Answered } else { Outcome::Unavailable };
        let report = Report { bytes: if has_come { 160 } else { 0 }, ..Report::empty(outcome) };
        self.scheduler.finished(action.id, &report, self.now);
        if has_come {
            self.scheduler.have_validator_set(&ROOT);
        }
    }
}

#[test]
fn the_next_set_is_asked_for_before_anybody_claims_what_it_signs() {
    let (mut bench, peers) = at_the_head(3);
    let asked = bench.asked_for_set();
    assert_eq!(asked.len(), 1);
    assert!(peers.iter().any(|peer| asked[0].source == (*peer).into()));
    assert!(bench.asked_for_set().is_empty(), "once");
    bench.end_set(&asked[0], true);
    assert_eq!(bench.scheduler.wanted_validator_set(), None);
    assert!(bench.asked_for_set().is_empty());
}

#[test]
fn a_set_that_nobody_gives_is_told_as_what_is_waited_for() {
    let (mut bench, peers) = at_the_head(1);
    let asked = bench.asked_for_set();
    assert_eq!(bench.scheduler.blocked(), None, "nothing is decided that it signs");
    bench.end_set(&asked[0], false);
    bench.scheduler.peer_status(peers[0], status(DECIDED + 1));
    bench.poll();
    assert_eq!(bench.scheduler.blocked(), Some(&Blocked::NoValidatorSet { root: ROOT, height: DECIDED + 1 }));
    bench.scheduler.have_validator_set(&ROOT);
    bench.poll();
    assert_eq!(bench.scheduler.blocked(), None);
}

/// Round trips from the announcement of height 6 until all that it has is here, where everything that is asked for at one
/// moment comes a round trip later.
fn round_trips_from_announcement(mut bench: Bench, announcer: PeerId) -> u32 {
    let height = DECIDED + 1;
    let start = bench.now;
    let mut lacks = 3;
    bench.scheduler.peer_hinted(announcer, height);
    while lacks > 0 {
        if bench.scheduler.wanted_validator_set().is_none() && bench.scheduler.values.decided() < height {
            // The announced value, which waited for nothing else.
            bench.scheduler.set_decided(height);
            bench.scheduler.load(vec![missing(height, 2)], height);
        }
        let actions = bench.poll();
        assert!(!actions.is_empty(), "nothing is under way");
        bench.now += ROUND_TRIP;
        for action in actions {
            let asked = items(&action);
            match action.fetch {
                Fetch::ValidatorSet { .. } => bench.end_set(&action, true),
                Fetch::Values(_) => {
                    let report = Report { values: 1, bytes: 500, ..Report::empty(Outcome::Answered) };
                    bench.scheduler.finished(action.id, &report, bench.now);
                }
                _ => bench.finish(&action, Outcome::Answered, &asked),
            }
            lacks -= asked.len();
            asked.into_iter().for_each(|item| bench.scheduler.stored(item));
        }
    }
    let trips = (bench.now - start).as_millis() / ROUND_TRIP.as_millis();
    u32::try_from(trips).unwrap()
}

#[test]
fn a_height_that_a_new_set_signs_takes_one_round_trip_and_two_if_the_set_is_still_unknown() {
    let (mut bench, peers) = at_the_head(3);
    let asked = bench.asked_for_set();
    bench.end_set(&asked[0], true);
    assert_eq!(round_trips_from_announcement(bench, peers[0]), 1);
    // The set was not to be had before the announcement.
    let (bench, peers) = at_the_head(3);
    assert_eq!(round_trips_from_announcement(bench, peers[1]), 2);
}

#[test]
fn who_does_not_have_the_set_makes_way_at_once() {
    let (mut bench, peers) = at_the_head(5);
    let mut asked = BTreeSet::new();
    while let [action] = bench.asked_for_set().as_slice() {
        asked.insert(action.source);
        bench.end_set(action, false);
    }
    assert_eq!(asked.len(), peers.len(), "each once, in no time");
    // Then again, less and less often.
    let mut again = 0;
    for _ in 0..1200 {
        bench.now += Scheduler::TICK;
        for action in bench.asked_for_set() {
            again += 1;
            bench.end_set(&action, false);
        }
    }
    assert!((10..60).contains(&again), "{again} in a minute, of five peers");
}

#[test]
fn who_announces_what_the_set_signs_is_asked_at_once_and_before_others() {
    let (mut bench, peers) = at_the_head(5);
    while let [action] = bench.asked_for_set().as_slice() {
        bench.end_set(action, false);
    }
    bench.scheduler.peer_hinted(peers[2], DECIDED + 1);
    let asked = bench.asked_for_set();
    assert_eq!(asked.iter().map(|action| action.source).collect::<Vec<_>>(), [peers[2].into()]);
    bench.end_set(&asked[0], false);
    // Saying it once more changes nothing.
    bench.scheduler.peer_hinted(peers[2], DECIDED + 1);
    assert!(bench.asked_for_set().is_empty());
    bench.scheduler.peer_status(peers[3], status(DECIDED + 1));
    assert_eq!(bench.asked_for_set()[0].source, peers[3].into());
}

#[test]
fn who_does_not_have_the_set_yet_is_asked_for_everything_else() {
    let (mut bench, peers) = at_the_head(1);
    let asked = bench.asked_for_set();
    bench.end_set(&asked[0], false);
    assert_eq!(bench.scheduler.capacities()[0].bytes_per_second, None, "it did not claim to have it");
    bench.scheduler.peer_status(peers[0], status(DECIDED + 1));
    let fetches: Vec<Fetch> = bench.poll().into_iter().map(|action| action.fetch).collect();
    assert!(fetches.contains(&Fetch::Values(6..7)), "{fetches:?}");
}

#[test]
fn who_is_silent_about_the_set_is_outrun_by_the_next_and_the_next() {
    let (mut bench, peers) = at_the_head(4);
    let mut open = bench.asked_for_set();
    let start = bench.now;
    let mut sources: BTreeSet<SourceId> = open.iter().map(|action| action.source).collect();
    while sources.len() < peers.len() {
        bench.now += Scheduler::TICK;
        let more = bench.asked_for_set();
        assert!(more.len() <= 1);
        sources.extend(more.iter().map(|action| action.source));
        open.extend(more);
        for id in bench.scheduler.cancellations(bench.now) {
            let place = open.iter().position(|action| action.id == id).unwrap();
            let cancelled = open.remove(place);
            bench.scheduler.finished(cancelled.id, &Report::empty(Outcome::Local), bench.now);
        }
        assert!(open.len() <= 2, "no more than two at a time");
        assert!(bench.now - start < Duration::from_secs(6), "long before silence times out");
    }
    let last = open.pop().unwrap();
    bench.end_set(&last, true);
    assert_eq!(bench.scheduler.cancellations(bench.now), [open[0].id], "the first one is outrun");
    assert_eq!(bench.scheduler.stats().hedges_won, 1);
}

#[test]
fn claims_without_sets_cost_bounded_requests() {
    let (mut bench, peers) = at_the_head(8);
    let mut requests = 0;
    // For a minute everybody announces everything, all the time, and has nothing.
    for _ in 0..1200 {
        bench.now += Scheduler::TICK;
        for peer in &peers {
            bench.scheduler.peer_hinted(*peer, DECIDED + 1);
            bench.scheduler.peer_status(*peer, status(DECIDED));
        }
        for action in bench.poll() {
            requests += 1;
            bench.finish(&action, Outcome::Unavailable, &[]);
        }
    }
    // Of each: the set and the value, some ten times each before they are asked for every 30 s only.
    assert!(requests <= 2 * 12 * peers.len(), "{requests}");
}

#[test]
fn a_set_that_others_made_needless_is_not_asked_for() {
    let (mut bench, peers) = at_the_head(2);
    let asked = bench.asked_for_set();
    bench.scheduler.set_decided(DECIDED + 1);
    assert_eq!(bench.scheduler.wanted_validator_set(), None);
    bench.end_set(&asked[0], false);
    assert!(bench.asked_for_set().is_empty());
    bench.scheduler.want_validator_set(ROOT, DECIDED + 1);
    assert_eq!(bench.scheduler.wanted_validator_set(), None, "it signed what is decided");
    // A set that came late does not stand for the one that is wanted now.
    let other = Bytes32::from([8; 32]);
    bench.scheduler.want_validator_set(other, DECIDED + 2);
    bench.scheduler.have_validator_set(&ROOT);
    assert_eq!(bench.scheduler.wanted_validator_set(), Some(other));
    peers.iter().for_each(|peer| bench.scheduler.peer_status(*peer, status(DECIDED + 1)));
    let asked = bench.poll();
    let sets = asked.iter().filter(|action| matches!(action.fetch, Fetch::ValidatorSet { .. })).count();
    assert!((1..=MAX_CONCURRENT_REQUESTS).contains(&sets));
}

#[test]
fn an_announced_value_is_not_left_lying_for_one_that_was_asked_for() {
    let (mut bench, peers) = at_the_head(1);
    let next = DECIDED + 1;
    bench.scheduler.peer_hinted(peers[0], next);
    assert!(bench.poll().iter().any(|action| action.fetch == Fetch::Values(next..next + 1)));
    assert!(bench.scheduler.wants_value(next));
    assert!(!bench.scheduler.wants_value(next + 1), "it does not attach");
    bench.scheduler.set_held_values(std::iter::once(next..next + 1).collect());
    assert!(!bench.scheduler.wants_value(next), "it is here");
}

#[test]
fn a_peer_that_is_silent_about_the_set_does_not_keep_it_from_an_archive() {
    let (mut bench, peers) = at_the_head(1);
    let archive = ArchiveId(0);
    bench.scheduler.peer_status(peers[0], status(DECIDED + 1));
    bench.scheduler.archive_covers(archive, std::iter::once(1..DECIDED + 2).collect());
    let asked = bench.asked_for_set();
    assert_eq!(asked.iter().map(|action| action.source).collect::<Vec<_>>(), [peers[0].into()]);
    bench.now += Duration::from_millis(100);
    assert!(bench.asked_for_set().is_empty(), "it is not late yet");
    bench.now += Duration::from_secs(5);
    let asked = bench.asked_for_set();
    assert_eq!(asked.iter().map(|action| action.source).collect::<Vec<_>>(), [archive.into()]);
}

#[test]
fn a_peer_that_knows_no_sets_is_not_waited_for() {
    let (mut bench, peers) = at_the_head(1);
    let archive = ArchiveId(0);
    bench.scheduler.peer_status(peers[0], status(DECIDED + 1));
    bench.scheduler.archive_covers(archive, std::iter::once(1..DECIDED + 2).collect());
    let asked = bench.asked_for_set();
    bench.finish(&asked[0], Outcome::Unsupported, &[]);
    for _ in 0..3 {
        let asked = bench.asked_for_set();
        assert_eq!(asked.iter().map(|action| action.source).collect::<Vec<_>>(), [archive.into()]);
        bench.finish(&asked[0], Outcome::Broken, &[]);
        bench.now += Duration::from_secs(60);
    }
}
