//! Archives beside peers, and without them.

use std::collections::HashSet;

use lapis_protocol_spec::{Bytes32, HeightRanges};

use super::{
    network::{Behaviour, Network},
    *,
};

const ARCHIVE: ArchiveId = ArchiveId(0);

fn ranges(ranges: &[Range<Height>]) -> HeightRanges {
    ranges.iter().cloned().collect()
}

fn range(range: Range<Height>) -> HeightRanges {
    ranges(std::slice::from_ref(&range))
}

/// What nobody follows: data alone.
fn data_only() -> SchedulerConfig {
    SchedulerConfig { follow: false, ..SchedulerConfig::default() }
}

/// Heights asked of `source`.
fn asked_of(actions: &[Action], source: impl Into<SourceId>) -> BTreeSet<Height> {
    let source = source.into();
    let of_source = actions.iter().filter(|action| action.source == source);
    of_source.flat_map(items).map(Item::height).collect()
}

fn value_ranges(actions: &[Action]) -> Vec<(SourceId, Range<Height>)> {
    let range = |action: &Action| match &action.fetch {
        Fetch::Values(heights) => Some((action.source, heights.clone())),
        _ => None,
    };
    actions.iter().filter_map(range).collect()
}

#[test]
fn an_archive_is_not_asked_for_what_lies_between_its_ranges() {
    let mut bench = Bench::new(data_only(), 9);
    bench.scheduler.archive_covers(ARCHIVE, ranges(&[1..4, 7..10]));
    bench.scheduler.load((1..=9).map(|height| missing(height, 1)).collect(), 9);
    let actions = bench.poll();
    assert_eq!(asked_of(&actions, ARCHIVE), BTreeSet::from([1, 2, 3, 7, 8, 9]));
    assert_eq!(bench.scheduler.blocked(), Some(&Blocked::NoPeers));
    bench.scheduler.peer_status(PeerId::random(), status(3));
    bench.poll();
    assert_eq!(bench.scheduler.blocked(), Some(&Blocked::NobodyHas(4..7)));
    for action in &actions {
        bench.finish(action, Outcome::Answered, &items(action));
    }
    bench.scheduler.archive_covers(ARCHIVE, range(1..10));
    assert_eq!(asked_of(&bench.poll(), ARCHIVE), BTreeSet::from([4, 5, 6]));
}

#[test]
fn values_are_asked_of_an_archive_up_to_a_hole() {
    let mut bench = Bench::new(SchedulerConfig::default(), 4);
    bench.scheduler.archive_covers(ARCHIVE, ranges(&[2..9, 12..20]));
    assert_eq!(value_ranges(&bench.poll()), vec![(ARCHIVE.into(), 5..9)]);
}

#[test]
fn peers_are_asked_first_even_if_they_are_busy() {
    let mut bench = Bench::new(data_only(), 400);
    let peer = PeerId::random();
    bench.scheduler.peer_status(peer, Status { earliest_blob_height: 300, ..status(400) });
    bench.scheduler.archive_covers(ARCHIVE, range(1..401));
    bench.scheduler.load((1..=400).map(|height| missing(height, 6)).collect(), 400);
    let mut actions = Vec::new();
    for _ in 0..10 {
        actions.extend(bench.poll());
    }
    let archived = asked_of(&actions, ARCHIVE);
    assert!(!archived.is_empty() && archived.iter().all(|height| *height < 300), "{archived:?}");
    let payloads = |action: &&Action| matches!(action.fetch, Fetch::Payloads(_));
    assert!(actions.iter().filter(payloads).all(|action| action.source.is_peer()));
}

#[test]
fn a_range_of_an_archive_ends_where_a_peer_can_go_on() {
    let mut bench = Bench::new(SchedulerConfig::default(), 0);
    let peer = PeerId::random();
    bench.scheduler.peer_status(peer, Status { earliest_value_height: 8, ..status(20) });
    bench.scheduler.archive_covers(ARCHIVE, range(1..21));
    let asked = value_ranges(&bench.poll());
    assert_eq!(asked, vec![(ARCHIVE.into(), 1..8), (peer.into(), 8..21)]);
}

#[test]
fn what_peers_claim_and_do_not_deliver_comes_from_the_archive() {
    let mut bench = Bench::new(data_only(), 1);
    let peer = PeerId::random();
    bench.scheduler.peer_status(peer, status(1));
    bench.scheduler.archive_covers(ARCHIVE, range(1..2));
    bench.scheduler.load(vec![missing(1, 3)], 1);
    let actions = blob_actions(bench.poll());
    assert_eq!(actions[0].source, peer.into());
    bench.finish(&actions[0], Outcome::Unavailable, &[]);
    assert_eq!(blob_actions(bench.poll())[0].source, ARCHIVE.into());
}

#[test]
fn one_damaged_height_of_an_archive_says_nothing_of_the_next() {
    let mut bench = Bench::new(data_only(), 5);
    bench.scheduler.archive_covers(ARCHIVE, range(1..6));
    bench.scheduler.load((1..=5).map(|height| missing(height, 1)).collect(), 5);
    let actions = blob_actions(bench.poll());
    assert_eq!(items(&actions[0]).len(), 5);
    let received = HashSet::from([Item::Blob(1, 0), Item::Blob(2, 0)]);
    let report = Report { received, bytes: 2 * SIDECAR_BYTES, broke_at: Some(3), ..Report::empty(Outcome::Faulty) };
    bench.scheduler.finished(actions[0].id, &report, bench.now);
    bench.now += Duration::from_secs(10);
    let again = blob_actions(bench.poll());
    assert_eq!(asked_of(&again, ARCHIVE), BTreeSet::from([4, 5]));
    assert_eq!(bench.scheduler.blocked(), Some(&Blocked::ArchivesBusy(3..4)));
    bench.now += Duration::from_secs(600);
    assert_eq!(asked_of(&blob_actions(bench.poll()), ARCHIVE), BTreeSet::from([3]));
}

#[test]
fn an_archive_that_cannot_be_reached_is_left_alone_longer_each_time() {
    let mut bench = Bench::new(data_only(), 1);
    bench.scheduler.archive_covers(ARCHIVE, range(1..2));
    bench.scheduler.load(vec![missing(1, 1)], 1);
    let mut asked = 0;
    for _ in 0..6000 {
        for action in bench.poll() {
            asked += 1;
            bench.finish(&action, Outcome::Broken, &[]);
        }
        bench.now += Scheduler::TICK;
    }
    // 300 s at most 30 s apart, and not 6000 times.
    assert!((10..60).contains(&asked), "{asked}");
}

#[test]
fn an_archive_that_does_not_give_values_is_named_as_the_reason() {
    let mut bench = Bench::new(SchedulerConfig::default(), 2);
    bench.scheduler.archive_covers(ARCHIVE, range(1..9));
    let actions = bench.poll();
    assert_eq!(bench.scheduler.blocked(), None, "they are on their way");
    bench.finish(&actions[0], Outcome::Broken, &[]);
    assert!(bench.poll().is_empty());
    assert_eq!(bench.scheduler.blocked(), Some(&Blocked::ArchivesBusy(3..9)));
}

#[test]
fn without_peers_the_target_is_what_archives_cover_without_a_hole() {
    let mut bench = Bench::new(SchedulerConfig::default(), 10);
    bench.scheduler.archive_covers(ArchiveId(0), ranges(&[1..21, 31..41]));
    assert_eq!(bench.scheduler.target(), 20);
    bench.scheduler.archive_covers(ArchiveId(1), ranges(&[15..31, 50..60]));
    assert_eq!(bench.scheduler.target(), 40);
    // With peers they are what counts, whatever archives say.
    bench.scheduler.archive_covers(ArchiveId(2), range(1..u64::MAX));
    bench.scheduler.peer_status(PeerId::random(), status(12));
    assert_eq!(bench.scheduler.target(), 12);
}

#[test]
fn a_lying_archive_does_not_keep_the_node_from_honest_peers() {
    let mut bench = Bench::new(SchedulerConfig::default(), 0);
    bench.scheduler.archive_covers(ARCHIVE, range(1..u64::MAX));
    let lie = value_ranges(&bench.poll());
    assert_eq!(lie[0].0, ARCHIVE.into());
    let honest = PeerId::random();
    bench.scheduler.peer_status(honest, status(64));
    for id in 0..8 {
        bench.scheduler.finished(RequestId(id), &Report::empty(Outcome::Faulty), bench.now);
    }
    let asked = value_ranges(&bench.poll());
    assert_eq!(asked[0], (honest.into(), 1..17));
}

#[test]
fn what_an_archive_is_slow_to_give_is_asked_of_a_peer_that_comes() {
    let mut bench = Bench::new(SchedulerConfig::default(), 3);
    bench.scheduler.archive_covers(ARCHIVE, range(1..9));
    bench.scheduler.load((1..=3).map(|height| missing(height, 1)).collect(), 3);
    let asked = bench.poll();
    assert_eq!(asked.len(), 3, "values, payloads, blobs: {asked:?}");
    bench.now += Duration::from_secs(20);
    assert!(bench.scheduler.cancellations(bench.now).is_empty(), "nobody else has it");
    let peer = PeerId::random();
    bench.scheduler.peer_status(peer, status(9));
    let recalled: BTreeSet<RequestId> = bench.scheduler.cancellations(bench.now).into_iter().collect();
    assert_eq!(recalled, asked.iter().map(|action| action.id).collect());
    assert!(bench.scheduler.cancellations(bench.now).is_empty(), "each of them once");
    // What has come by then is kept.
    for action in &asked {
        bench.finish(action, Outcome::Local, items(action).get(..1).unwrap_or_default());
    }
    let again = bench.poll();
    assert!(again.iter().all(|action| action.source == peer.into()), "{again:?}");
    let items: Vec<Item> = again.iter().flat_map(items).collect();
    assert_eq!(items, [Item::Payload(2), Item::Payload(3), Item::Blob(2, 0), Item::Blob(3, 0)]);
    assert_eq!(value_ranges(&again)[0].1.start, 4);
}

#[test]
fn an_archive_is_not_given_up_for_peers_that_have_already_failed_or_at_once() {
    let mut bench = Bench::new(data_only(), 1);
    let peer = PeerId::random();
    bench.scheduler.peer_status(peer, status(1));
    bench.scheduler.archive_covers(ARCHIVE, range(1..2));
    bench.scheduler.load(vec![Missing { payload: false, ..missing(1, 2) }], 1);
    let actions = bench.poll();
    bench.finish(&actions[0], Outcome::Unavailable, &[]);
    assert_eq!(bench.poll()[0].source, ARCHIVE.into());
    bench.now += Duration::from_secs(20);
    assert!(bench.scheduler.cancellations(bench.now).is_empty(), "the peer does not have it");
    let mut bench = Bench::new(data_only(), 1);
    bench.scheduler.archive_covers(ARCHIVE, range(1..2));
    bench.scheduler.load(vec![missing(1, 2)], 1);
    bench.poll();
    bench.scheduler.peer_status(peer, status(1));
    assert!(bench.scheduler.cancellations(bench.now).is_empty(), "what has just been asked for comes soon");
}

#[test]
fn an_archive_that_is_gone_is_not_asked() {
    let mut bench = Bench::new(data_only(), 1);
    bench.scheduler.archive_covers(ARCHIVE, range(1..2));
    bench.scheduler.archive_gone(ARCHIVE);
    bench.scheduler.load(vec![missing(1, 1)], 1);
    assert!(bench.poll().is_empty());
}

#[test]
fn a_set_that_commits_wait_for_is_asked_of_an_archive_with_its_height() {
    let mut bench = Bench::new(SchedulerConfig::default(), 4);
    bench.scheduler.archive_covers(ARCHIVE, range(1..9));
    let root = Bytes32::from([7; 32]);
    bench.scheduler.want_validator_set(root, 5);
    let actions = bench.poll();
    let wanted = Fetch::ValidatorSet { root, height: 5 };
    assert!(actions.iter().any(|action| action.fetch == wanted && !action.source.is_peer()), "{actions:?}");
}

#[test]
fn simulated_nodes_get_what_peers_have_pruned_from_archives_whatever_others_do() {
    use Behaviour::{Empty, Half, Honest, Silent, WrongData};
    const FLOOR: Height = 31;
    for seed in 0..60 {
        let mut rng = StdRng::seed_from_u64(seed);
        let split = rand::Rng::random_range(&mut rng, 2..FLOOR);
        let mut archives = vec![(Honest, range(1..split)), (Honest, range(split..FLOOR))];
        for behaviour in [Half, Empty, WrongData, Silent] {
            if rand::Rng::random_bool(&mut rng, 0.4) {
                archives.push((behaviour, range(1..1000)));
            }
        }
        let mut network = Network::pruned(seed, 60, FLOOR, archives);
        let trace = network.run(Duration::from_secs(3600));
        assert!(network.is_complete(), "seed {seed}: {:?} after {} steps", network.progress(), trace.len());
        assert!(network.peak_buffered <= network.budget, "seed {seed}");
    }
}

/// Whoever is asked delivers the four blobs of another height, one every `gap`.
fn delivers(bench: &mut Bench, gap: Duration) {
    let height = bench.scheduler.data.loaded_to() + 1;
    bench.scheduler.load(vec![Missing { payload: false, ..missing(height, 4) }], height);
    for action in bench.poll() {
        for item in items(&action) {
            bench.now += gap;
            bench.scheduler.received(action.id, Some(item), SIDECAR_BYTES, bench.now);
        }
        bench.finish(&action, Outcome::Answered, &items(&action));
        items(&action).into_iter().for_each(|item| bench.scheduler.stored(item));
    }
}

#[test]
fn a_peer_that_is_slower_than_an_archive_is_asked_all_the_same() {
    let mut bench = Bench::new(data_only(), 1000);
    let peer = PeerId::random();
    bench.scheduler.archive_covers(ARCHIVE, range(1..1001));
    (0..4).for_each(|_| delivers(&mut bench, Duration::from_millis(1)));
    bench.scheduler.archive_gone(ARCHIVE);
    bench.scheduler.peer_status(peer, status(1000));
    (0..4).for_each(|_| delivers(&mut bench, Duration::from_secs(3)));
    bench.scheduler.archive_covers(ARCHIVE, range(1..1001));
    let height = bench.scheduler.data.loaded_to() + 1;
    bench.scheduler.load(vec![missing(height, 4)], height);
    // It is able to serve the height, so no archive is: whoever waited for one would wait for ever.
    assert_eq!(asked_of(&bench.poll(), peer), BTreeSet::from([height]));
}
