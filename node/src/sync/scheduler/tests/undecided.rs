//! Data of a height that nobody claims, from peers that are about to decide it.

use super::*;

/// Nobody is asked before.
const GRACE: Duration = Duration::from_millis(100);

fn data_only() -> SchedulerConfig {
    SchedulerConfig { follow: false, ..SchedulerConfig::default() }
}

/// A node that has decided height 9 and lacks its data, the payload and `blobs` blobs, among peers that stand at `heads`.
fn bench(blobs: u64, heads: &[Height]) -> (Bench, Vec<PeerId>) {
    let mut bench = Bench::new(data_only(), 9);
    bench.scheduler.load(vec![missing(9, blobs)], 9);
    let peers: Vec<PeerId> = heads.iter().map(|_| PeerId::random()).collect();
    for (peer, head) in peers.iter().zip(heads) {
        bench.scheduler.peer_status(*peer, status(*head));
    }
    (bench, peers)
}

fn methods(actions: &[Action]) -> Vec<Method> {
    actions.iter().map(|action| action.fetch.method()).collect()
}

fn all_items(actions: &[Action]) -> BTreeSet<Item> {
    actions.iter().flat_map(items).collect()
}

/// Lets the time pass after which peers are asked that claim nothing.
fn after_grace(bench: &mut Bench) -> Vec<Action> {
    assert_eq!(bench.poll(), Vec::new(), "first they may decide and say so");
    bench.now += GRACE;
    bench.poll()
}

#[test]
fn peers_just_below_the_height_are_asked_by_root_after_a_moment() {
    let (mut bench, peers) = bench(2, &[8]);
    let actions = after_grace(&mut bench);
    assert_eq!(methods(&actions), [Method::PayloadsByRoot, Method::BlobsByRoot]);
    assert!(actions.iter().all(|action| action.source == peers[0].into()));
    assert_eq!(all_items(&actions), BTreeSet::from([Item::Payload(9), Item::Blob(9, 0), Item::Blob(9, 1)]));
    for action in &actions {
        bench.finish(action, Outcome::Answered, &items(action));
        items(action).into_iter().for_each(|item| bench.scheduler.stored(item));
    }
    assert_eq!((bench.poll(), bench.scheduler.buffered_bytes()), (Vec::new(), 0));
    let stats = bench.scheduler.stats();
    assert_eq!((stats.unclaimed_requests, stats.unclaimed_items), (2, 3));
}

#[test]
fn nobody_far_below_is_asked_nor_who_has_pruned_it_nor_an_archive() {
    let (mut bench, _) = bench(2, &[4]);
    bench
        .scheduler
        .peer_status(PeerId::random(), Status { earliest_blob_height: 10, earliest_payload_height: 10, ..status(20) });
    bench.scheduler.archive_covers(ArchiveId(0), std::iter::once(1..9).collect());
    for _ in 0..100 {
        assert_eq!(bench.poll(), Vec::new());
        bench.now += Scheduler::TICK;
    }
}

#[test]
fn who_claims_the_height_is_asked_first_and_others_once_that_one_lacks_it() {
    let (mut bench, peers) = bench(2, &[9, 8]);
    let actions = bench.poll();
    assert_eq!(methods(&actions), [Method::PayloadsByRange, Method::BlobsByRange]);
    bench.now += GRACE;
    assert_eq!(bench.poll(), Vec::new(), "it is on its way");
    for action in &actions {
        bench.finish(action, Outcome::Unavailable, &[]);
    }
    let actions = after_grace(&mut bench);
    let unclaimed: Vec<Action> = actions.into_iter().filter(|action| action.source == peers[1].into()).collect();
    assert_eq!(methods(&unclaimed), [Method::PayloadsByRoot, Method::BlobsByRoot]);
}

#[test]
fn ranges_end_below_what_nobody_claims() {
    let mut bench = Bench::new(data_only(), 9);
    bench.scheduler.load((1..=9).map(|height| missing(height, 1)).collect(), 9);
    let peer = PeerId::random();
    bench.scheduler.peer_status(peer, status(8));
    let mut actions = bench.poll();
    bench.now += GRACE;
    actions.extend(bench.poll());
    for action in &actions {
        let heights: BTreeSet<Height> = items(action).iter().map(|item| item.height()).collect();
        match action.fetch {
            Fetch::Payloads(_) | Fetch::WholeHeights(_) => assert_eq!(heights, (1..=8).collect()),
            Fetch::PayloadsByRoot(_) | Fetch::Blobs(_) => assert_eq!(heights, BTreeSet::from([9])),
            Fetch::Values(_) | Fetch::ValidatorSet { .. } => panic!("{action:?}"),
        }
    }
    assert_eq!(actions.len(), 4, "{actions:?}");
}

#[test]
fn who_does_not_have_it_is_asked_a_few_times_and_is_as_good_as_before() {
    let (mut bench, peers) = bench(2, &[8, 7, 8]);
    let before = bench.scheduler.capacities();
    let mut asked: BTreeMap<(SourceId, Method), Vec<Instant>> = BTreeMap::new();
    for _ in 0..10_000 {
        for action in bench.poll() {
            asked.entry((action.source, action.fetch.method())).or_default().push(bench.now);
            bench.finish(&action, Outcome::Unavailable, &[]);
        }
        bench.now += Scheduler::TICK;
    }
    assert_eq!(asked.len(), 6, "each for both kinds of data");
    for times in asked.values() {
        assert_eq!(times.len(), 5);
        let waits = || times.windows(2).map(|pair| pair[1] - pair[0]);
        assert!(waits().zip(waits().skip(1)).all(|(wait, next)| next >= wait + wait / 2), "{times:?}");
    }
    assert_eq!(bench.scheduler.capacities(), before);
    bench.scheduler.peer_status(peers[1], status(9));
    let actions = bench.poll();
    assert_eq!(methods(&actions), [Method::PayloadsByRange, Method::BlobsByRange], "at once, now that it claims it");
}

#[test]
fn what_one_lacks_the_next_is_asked_for_and_who_has_some_may_be_asked_for_more() {
    let (mut bench, _) = bench(40, &[8, 8]);
    let mut sources = BTreeSet::new();
    let mut left: BTreeSet<Item> = (0..40).map(|index| Item::Blob(9, index)).chain([Item::Payload(9)]).collect();
    for _ in 0..200 {
        for action in bench.poll() {
            sources.insert(action.source);
            let half: Vec<Item> = items(&action).into_iter().take(items(&action).len().div_ceil(2)).collect();
            bench.finish(&action, Outcome::Answered, &half);
            for item in half {
                assert!(left.remove(&item), "{item:?} was asked for twice");
                bench.scheduler.stored(item);
            }
        }
        bench.now += Scheduler::TICK;
    }
    assert_eq!((left, sources.len()), (BTreeSet::new(), 2));
}

#[test]
fn who_sends_garbage_is_not_asked_again() {
    let (mut bench, _) = bench(1, &[8]);
    for action in after_grace(&mut bench) {
        bench.finish(&action, Outcome::Faulty, &[]);
    }
    for _ in 0..1000 {
        bench.now += Scheduler::TICK;
        assert_eq!(bench.poll(), Vec::new());
    }
}

#[test]
fn a_few_requests_are_open_at_a_time_and_within_the_memory() {
    let heads = [8; 40];
    let (mut large, _) = bench(1024, &heads);
    assert_eq!(after_grace(&mut large).len(), 4);
    large.now += GRACE;
    assert_eq!(large.poll(), Vec::new());

    let budget = 4 * SIDECAR_BYTES;
    let config = SchedulerConfig { max_buffered_bytes: budget, max_request_bytes: SIDECAR_BYTES, ..data_only() };
    let mut small = Bench::new(config, 9);
    small.scheduler.load(vec![missing(9, 1024)], 9);
    for head in heads {
        small.scheduler.peer_status(PeerId::random(), status(head));
    }
    let actions = after_grace(&mut small);
    assert!(!actions.is_empty() && small.scheduler.buffered_bytes() <= budget, "{actions:?}");
}

#[test]
fn fixed_pacing_knows_nothing_of_it() {
    let pacing = Pacing::Fixed(Duration::from_millis(200));
    let mut bench = Bench::new(SchedulerConfig { pacing, ..data_only() }, 9);
    bench.scheduler.load(vec![missing(9, 1)], 9);
    bench.scheduler.peer_status(PeerId::random(), status(8));
    for _ in 0..100 {
        assert_eq!(bench.poll(), Vec::new());
        bench.now += Scheduler::TICK;
    }
}

#[test]
fn however_many_came_and_went_whoever_is_here_is_asked() {
    let (mut bench, _) = bench(1, &[]);
    after_grace(&mut bench);
    for _ in 0..600 {
        let passing = PeerId::random();
        bench.scheduler.peer_status(passing, status(8));
        for action in bench.poll() {
            bench.finish(&action, Outcome::Unavailable, &[]);
        }
        bench.scheduler.peer_gone(passing);
    }
    let here = PeerId::random();
    bench.scheduler.peer_status(here, status(8));
    let actions = bench.poll();
    assert!(!actions.is_empty() && actions.iter().all(|action| action.source == here.into()), "{actions:?}");
}
