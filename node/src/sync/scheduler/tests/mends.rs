//! Damaged values and sets, fetched again out of turn.

use lapis_protocol_spec::Bytes32;

use super::*;

/// Finishes `action` with one value, or with nothing.
fn finish_value(bench: &mut Bench, action: &Action, outcome: Outcome, came: bool) -> Ended {
    let (values, bytes) = if came { (1, 500) } else { (0, 0) };
    let report = Report { values, bytes, ..Report::empty(outcome) };
    bench.scheduler.finished(action.id, &report, bench.now)
}

/// A node that has decided 9 heights and lacks nothing.
fn whole() -> Bench {
    let mut bench = Bench::new(SchedulerConfig { follow: false, ..SchedulerConfig::default() }, 9);
    bench.scheduler.load(Vec::new(), 9);
    bench
}

#[test]
fn a_damaged_value_is_asked_for_alone_and_once() {
    let mut bench = whole();
    let peer = PeerId::random();
    bench.scheduler.want_mend(Mend::Value(4));
    assert!(bench.poll().is_empty(), "nobody is there");
    bench.scheduler.peer_status(peer, status(9));
    let actions = bench.poll();
    assert_eq!(actions.len(), 1);
    assert_eq!((actions[0].source, &actions[0].fetch), (peer.into(), &Fetch::Values(4..5)));
    bench.scheduler.want_mend(Mend::Value(4));
    assert!(bench.poll().is_empty(), "it is on its way");
    let ended = finish_value(&mut bench, &actions[0], Outcome::Answered, true);
    assert_eq!(ended, Ended::Mend(Mend::Value(4)));
    assert!(bench.poll().is_empty(), "it is being looked at");
    bench.scheduler.mended(Mend::Value(4));
    assert!(bench.poll().is_empty());
    assert_eq!(bench.scheduler.wants_load(), Some(4..10), "its data is counted again");
}

#[test]
fn somebody_else_is_asked_for_it_at_once_and_the_same_one_later_and_later() {
    let mut bench = whole();
    let (first, second) = (PeerId::random(), PeerId::random());
    bench.scheduler.peer_status(first, status(9));
    bench.scheduler.want_mend(Mend::Value(4));
    let actions = bench.poll();
    assert_eq!(finish_value(&mut bench, &actions[0], Outcome::Unavailable, false), Ended::Other);
    assert!(bench.poll().is_empty(), "it has just said that it does not have it");
    bench.scheduler.peer_status(second, status(9));
    let actions = bench.poll();
    assert_eq!(actions[0].source, second.into());
    finish_value(&mut bench, &actions[0], Outcome::Unavailable, false);
    let mut asked = 0;
    for _ in 0..6000 {
        for action in bench.poll() {
            asked += 1;
            finish_value(&mut bench, &action, Outcome::Unavailable, false);
        }
        bench.now += Scheduler::TICK;
    }
    assert!((10..60).contains(&asked), "300 s, two peers, at most 30 s apart: {asked}");
}

#[test]
fn a_value_that_does_not_mend_is_asked_of_somebody_else_after_a_while() {
    let mut bench = whole();
    let liar = PeerId::random();
    bench.scheduler.peer_status(liar, status(9));
    bench.scheduler.want_mend(Mend::Value(4));
    let actions = bench.poll();
    finish_value(&mut bench, &actions[0], Outcome::Answered, true);
    bench.scheduler.faulty_value(liar.into(), 4, bench.now);
    bench.scheduler.not_mended(Mend::Value(4), bench.now);
    let honest = PeerId::random();
    bench.scheduler.peer_status(honest, status(9));
    assert!(bench.poll().is_empty());
    bench.now += Duration::from_secs(2);
    assert_eq!(bench.poll()[0].source, honest.into());
}

#[test]
fn a_damaged_set_is_asked_for_by_its_root_and_not_without_end() {
    let mut bench = whole();
    bench.scheduler.peer_status(PeerId::random(), status(9));
    let root = Bytes32::from([5; 32]);
    bench.scheduler.want_mend(Mend::ValidatorSet(root));
    let mut asked = 0;
    for _ in 0..6000 {
        for action in bench.poll() {
            assert_eq!(action.fetch, Fetch::ValidatorSet { root, height: 9 });
            asked += 1;
            finish_value(&mut bench, &action, Outcome::Unavailable, false);
        }
        bench.now += Scheduler::TICK;
    }
    assert!((5..20).contains(&asked), "{asked}");
    // Other things that the peer has of that height are not held back for it.
    bench.scheduler.load(vec![missing(9, 1)], 9);
    assert!(!blob_actions(bench.poll()).is_empty());
}

#[test]
fn a_mend_from_an_archive_where_no_peer_has_the_value() {
    let mut bench = whole();
    let archive = ArchiveId(0);
    bench.scheduler.peer_status(PeerId::random(), Status { earliest_value_height: 6, ..status(9) });
    bench.scheduler.archive_covers(archive, std::iter::once(1..6).collect());
    bench.scheduler.want_mend(Mend::Value(4));
    assert_eq!(bench.poll()[0].source, archive.into());
}

#[test]
fn damage_beyond_measure_is_mended_bit_by_bit() {
    let mut bench = Bench::new(SchedulerConfig { follow: false, ..SchedulerConfig::default() }, 1000);
    bench.scheduler.peer_status(PeerId::random(), status(1000));
    let mut mended = 0;
    for _ in 0..2000 {
        // Whoever meets a damaged row reports it again.
        (1..=100).filter(|height| *height > mended).for_each(|height| bench.scheduler.want_mend(Mend::Value(height)));
        let actions = bench.poll();
        assert!(actions.len() <= lapis_protocol_spec::MAX_CONCURRENT_REQUESTS);
        for action in actions {
            let Ended::Mend(mend) = finish_value(&mut bench, &action, Outcome::Answered, true) else { panic!() };
            bench.scheduler.mended(mend);
            mended += 1;
        }
    }
    assert_eq!(mended, 100);
}
