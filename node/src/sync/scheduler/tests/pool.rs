//! The execution client's blob pool before peers.

use super::*;

const HEAD_START: Duration = Duration::from_millis(250);

/// A scheduler of `heights` decided heights with `blobs` each, a pool, and one peer that has everything.
fn bench(heights: Height, blobs: u64) -> (Bench, SourceId) {
    let mut bench = Bench::new(SchedulerConfig { follow: false, ..SchedulerConfig::default() }, heights);
    let peer = PeerId::random();
    bench.scheduler.peer_status(peer, status(heights));
    bench.scheduler.pool_announced(true);
    bench.scheduler.load((1..=heights).map(|height| missing(height, blobs)).collect(), heights);
    (bench, peer.into())
}

fn blobs(heights: Range<Height>, indices: Range<u64>) -> Vec<Item> {
    heights.flat_map(|height| indices.clone().map(move |index| Item::Blob(height, index))).collect()
}

/// What is asked of the pool, and the blobs asked of anybody else.
fn polled(bench: &mut Bench) -> (Vec<Action>, Vec<Item>) {
    let (pool, peers): (Vec<_>, Vec<_>) =
        blob_actions(bench.poll()).into_iter().partition(|action| action.source == SourceId::Pool);
    (pool, peers.iter().flat_map(items).collect())
}

/// What is asked of the pool, if it is one call and peers are asked for no blob.
fn asked_alone(bench: &mut Bench) -> Action {
    let (mut pool, peers) = polled(bench);
    assert_eq!((pool.len(), peers), (1, Vec::new()));
    pool.remove(0)
}

fn store(bench: &mut Bench, items: &[Item]) {
    items.iter().for_each(|item| bench.scheduler.stored(*item));
}

#[test]
fn what_the_pool_has_is_asked_of_nobody_else() {
    let (mut bench, peer) = bench(2, 6);
    let actions = bench.poll();
    let payloads = actions.iter().filter(|action| matches!(action.fetch, Fetch::Payloads(_)));
    assert!(payloads.clone().count() == 1 && payloads.clone().all(|action| action.source == peer));
    let first = actions.into_iter().find(|action| action.source == SourceId::Pool).unwrap();
    assert_eq!(items(&first), blobs(1..2, 0..6));
    assert!(polled(&mut bench).0.is_empty(), "one call at a time");
    bench.finish(&first, Outcome::Answered, &items(&first));
    let second = asked_alone(&mut bench);
    assert_eq!(items(&second), blobs(2..3, 0..6));
    bench.finish(&second, Outcome::Answered, &items(&second));
    store(&mut bench, &blobs(1..3, 0..6));
    bench.now += HEAD_START;
    assert_eq!(polled(&mut bench), (Vec::new(), Vec::new()));
    let Stats { pool_calls, pool_blobs, pool_misses, pool_failures, .. } = bench.scheduler.stats();
    assert_eq!((pool_calls, pool_blobs, pool_misses, pool_failures), (2, 12, 0, 0));
}

#[test]
fn what_the_pool_lacks_comes_from_peers_at_once() {
    let (mut bench, _) = bench(1, 4);
    let call = asked_alone(&mut bench);
    let had = [Item::Blob(1, 1), Item::Blob(1, 3)];
    bench.finish(&call, Outcome::Answered, &had);
    assert_eq!(polled(&mut bench), (Vec::new(), vec![Item::Blob(1, 0), Item::Blob(1, 2)]));
    assert_eq!(bench.scheduler.stats().pool_misses, 2);
}

#[test]
fn a_pool_that_has_nothing_costs_one_call_for_a_height() {
    let (mut bench, _) = bench(1, 4);
    let call = asked_alone(&mut bench);
    bench.finish(&call, Outcome::Unavailable, &[]);
    let (pool, peers) = polled(&mut bench);
    assert_eq!((pool, peers), (Vec::new(), blobs(1..2, 0..4)));
}

#[test]
fn a_call_that_hangs_holds_peers_up_for_the_head_start_and_the_pool_rests_longer_each_time() {
    let (mut bench, peer) = bench(3, 2);
    let call = asked_alone(&mut bench);
    bench.now += HEAD_START - Duration::from_millis(1);
    assert!(bench.scheduler.cancellations(bench.now).is_empty());
    bench.now += Duration::from_millis(1);
    assert_eq!(bench.scheduler.cancellations(bench.now), [call.id]);
    let (pool, peers) = polled(&mut bench);
    assert_eq!((pool, peers), (Vec::new(), blobs(2..4, 0..2)), "what waited for the call waits no longer");
    bench.finish(&call, Outcome::Local, &[]);
    let actions = blob_actions(bench.poll());
    assert_eq!(actions.iter().flat_map(items).collect::<Vec<_>>(), blobs(1..2, 0..2));
    assert!(actions.iter().all(|action| action.source == peer));

    let SourceId::Peer(peer) = peer else { panic!("{peer}") };
    bench.scheduler.peer_gone(peer);
    let mut waits = Vec::new();
    for height in 4..12 {
        bench.scheduler.set_decided(height);
        bench.scheduler.load(vec![Missing { payload: false, ..missing(height, 1) }], height);
        let mut seconds = 0;
        let mut asked = bench.poll();
        while asked.is_empty() && seconds < 1000 {
            bench.now += Duration::from_secs(1);
            seconds += 1;
            asked = bench.poll();
        }
        waits.push(seconds);
        bench.finish(&asked[0], Outcome::Broken, &[]);
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
    assert_eq!(bench.scheduler.stats().pool_failures, 9);
}

#[test]
fn an_answer_that_waits_for_verification_is_not_late() {
    let (mut bench, _) = bench(1, 2);
    let call = asked_alone(&mut bench);
    bench.scheduler.received(call.id, Some(Item::Blob(1, 0)), SIDECAR_BYTES, bench.now);
    bench.now += 10 * HEAD_START;
    assert!(bench.scheduler.cancellations(bench.now).is_empty());
    bench.finish(&call, Outcome::Answered, &items(&call));
    assert_eq!(bench.scheduler.stats().pool_failures, 0);
}

#[test]
fn a_large_height_is_asked_for_in_batches_until_the_head_start_is_over() {
    let (mut bench, peer) = bench(1, 40);
    let first = asked_alone(&mut bench);
    assert_eq!(items(&first), blobs(1..2, 0..16));
    bench.finish(&first, Outcome::Answered, &blobs(1..2, 1..16));
    let second = asked_alone(&mut bench);
    assert_eq!(items(&second), blobs(1..2, 16..32), "what it lacks is not asked of it again");
    bench.now += HEAD_START;
    let (_, peers) = polled(&mut bench);
    assert!(peers.contains(&Item::Blob(1, 0)) && !peers.contains(&Item::Blob(1, 16)), "{peers:?} of {peer}");
    bench.finish(&second, Outcome::Answered, &items(&second));
    let asked: Vec<Item> = polled(&mut bench).0.iter().flat_map(items).collect();
    assert!(asked.iter().all(|item| !peers.contains(item)), "nothing is asked of both: {asked:?}");
}

#[test]
fn heights_far_below_the_head_and_imported_ones_are_not_asked_of_the_pool() {
    let (mut bench, _) = bench(100, 1);
    bench.scheduler.set_imported(80);
    let mut of_pool = BTreeSet::new();
    for _ in 0..100 {
        for action in bench.poll() {
            let all = items(&action);
            if action.source == SourceId::Pool {
                of_pool.extend(all.iter().map(|item| item.height()));
            }
            bench.finish(&action, Outcome::Answered, &all);
            store(&mut bench, &all);
        }
    }
    assert_eq!(of_pool, (81..=100).collect());

    let (mut bench, _) = super::pool::bench(100, 1);
    let pool = polled(&mut bench).0;
    assert_eq!(items(&pool[0]), [Item::Blob(69, 0)], "32 heights");
}

#[test]
fn a_false_blob_comes_from_a_peer_and_is_charged_to_none() {
    let (mut bench, peer) = bench(1, 2);
    let call = asked_alone(&mut bench);
    bench.finish(&call, Outcome::Answered, &items(&call));
    bench.scheduler.faulty(SourceId::Pool, Item::Blob(1, 1), bench.now);
    store(&mut bench, &[Item::Blob(1, 0)]);
    let actions = blob_actions(bench.poll());
    assert_eq!((actions[0].source, items(&actions[0])), (peer, vec![Item::Blob(1, 1)]));
    bench.finish(&actions[0], Outcome::Unavailable, &[]);
    for _ in 0..1000 {
        bench.now += Duration::from_secs(1);
        for action in bench.poll() {
            assert_eq!(action.source, peer, "the pool is not asked for the same again");
            bench.finish(&action, Outcome::Unavailable, &[]);
        }
    }
    assert_eq!(bench.scheduler.stats().pool_faults, 1);
}

#[test]
fn a_client_without_the_method_is_not_asked_before_it_announces_it_anew() {
    let (mut bench, _) = bench(1, 1);
    bench.scheduler.pool_announced(false);
    assert_eq!(polled(&mut bench), (Vec::new(), blobs(1..2, 0..1)));

    let (mut bench, _) = super::pool::bench(2, 1);
    let call = asked_alone(&mut bench);
    bench.finish(&call, Outcome::Unsupported, &[]);
    bench.now += Duration::from_secs(3600);
    assert!(polled(&mut bench).0.is_empty() && !bench.scheduler.is_pool_open());
    bench.scheduler.pool_announced(true);
    bench.scheduler.set_decided(3);
    bench.scheduler.load(vec![missing(3, 1)], 3);
    assert_eq!(items(&polled(&mut bench).0[0]), [Item::Blob(3, 0)]);
}

#[test]
fn memory_and_fixed_pacing_hold_for_the_pool_as_well() {
    let budget = 10 * SIDECAR_BYTES;
    let config =
        SchedulerConfig { max_buffered_bytes: budget, hedge_bytes: 0, follow: false, ..SchedulerConfig::default() };
    let mut bench = Bench::new(config, 1);
    bench.scheduler.pool_announced(true);
    bench.scheduler.load(vec![missing(1, 40)], 1);
    let call = asked_alone(&mut bench);
    assert_eq!(items(&call), blobs(1..2, 0..10));
    bench.finish(&call, Outcome::Answered, &items(&call));
    assert!(bench.poll().is_empty(), "nothing fits before something is stored");
    store(&mut bench, &blobs(1..2, 0..2));
    assert_eq!(items(&asked_alone(&mut bench)), blobs(1..2, 10..12));

    let pacing = Pacing::Fixed(Duration::from_millis(200));
    let mut bench = Bench::new(SchedulerConfig { pacing, ..config }, 1);
    bench.scheduler.pool_announced(true);
    bench.scheduler.load(vec![missing(1, 1)], 1);
    assert!(bench.poll().is_empty());
    assert!(!bench.scheduler.is_pool_open(), "nobody is told that it is asked");
}

#[test]
fn a_call_that_is_late_is_not_asked_of_a_peer_as_well() {
    let config = SchedulerConfig { follow: false, pool_head_start: Duration::from_secs(9), ..Default::default() };
    let mut bench = Bench::new(config, 1);
    bench.scheduler.peer_status(PeerId::random(), status(1));
    bench.scheduler.pool_announced(true);
    bench.scheduler.load(vec![Missing { payload: false, ..missing(1, 2) }], 1);
    asked_alone(&mut bench);
    for _ in 0..100 {
        bench.now += Scheduler::TICK;
        assert!(bench.poll().is_empty());
    }
}
