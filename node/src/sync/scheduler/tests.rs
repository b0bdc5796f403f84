//! The scheduler under virtual time: no sockets, no threads, no clock.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod archives;
mod chaos;
mod choice;
mod hedges;
mod mends;
mod network;
mod pool;
mod sets;
mod undecided;

use std::{collections::BTreeSet, sync::Arc};

use lapis_protocol_spec::{Bytes48, Value, matching::IdentifiedValue};
use rand::{SeedableRng, rngs::StdRng};

use self::network::{Behaviour, Network};
use super::*;

/// A value at `height` with `blobs` distinct commitments and a payload of 1000 bytes.
fn value(height: Height, blobs: u64) -> IdentifiedValue {
    let commitment = |index: u64| {
        let mut bytes = [0; 48];
        bytes[..8].copy_from_slice(&height.to_le_bytes());
        bytes[8..16].copy_from_slice(&index.to_le_bytes());
        Bytes48::from(bytes)
    };
    let commitments: Vec<Bytes48> = (0..blobs).map(commitment).collect();
    let value =
        Value { height, payload_size: 1000, blob_kzg_commitments: commitments.try_into().unwrap(), ..Value::default() };
    IdentifiedValue::new(Arc::new(value))
}

fn missing(height: Height, blobs: u64) -> Missing {
    Missing { value: value(height, blobs), payload: true, blobs: (0..blobs).collect() }
}

fn status(decided: Height) -> Status {
    Status {
        decided_height: decided,
        available_height: decided,
        earliest_value_height: 1,
        earliest_payload_height: 1,
        earliest_blob_height: 1,
        ..Status::default()
    }
}

struct Bench {
    scheduler: Scheduler,
    now: Instant,
    rng: StdRng,
}

impl Bench {
    fn new(config: SchedulerConfig, decided: Height) -> Self {
        let scheduler = Scheduler::new(config, decided, 0, 0);
        Self { scheduler, now: Instant::now(), rng: StdRng::seed_from_u64(7) }
    }

    fn poll(&mut self) -> Vec<Action> {
        self.scheduler.poll(self.now, &mut self.rng)
    }

    fn finish(&mut self, action: &Action, outcome: Outcome, received: &[Item]) {
        let report = Report {
            received: received.iter().copied().collect(),
            bytes: received.len() as u64 * SIDECAR_BYTES,
            ..Report::empty(outcome)
        };
        self.scheduler.finished(action.id, &report, self.now);
    }
}

fn items(action: &Action) -> Vec<Item> {
    match &action.fetch {
        Fetch::Payloads(values) | Fetch::PayloadsByRoot(values) => {
            values.iter().map(|value| Item::Payload(value.value().height)).collect()
        }
        Fetch::WholeHeights(values) => values
            .iter()
            .flat_map(|value| {
                let height = value.value().height;
                (0..value.value().blob_count() as u64).map(move |index| Item::Blob(height, index))
            })
            .collect(),
        Fetch::Blobs(wanted) => wanted
            .iter()
            .flat_map(|(value, indices)| indices.iter().map(|index| Item::Blob(value.value().height, *index)))
            .collect(),
        Fetch::Values(_) | Fetch::ValidatorSet { .. } => Vec::new(),
    }
}

fn blob_actions(actions: Vec<Action>) -> Vec<Action> {
    actions.into_iter().filter(|action| matches!(action.fetch, Fetch::WholeHeights(_) | Fetch::Blobs(_))).collect()
}

#[test]
fn nothing_is_asked_of_nobody() {
    let mut bench = Bench::new(SchedulerConfig::default(), 3);
    bench.scheduler.load(vec![missing(1, 2)], 3);
    assert!(bench.poll().is_empty());
    assert_eq!(bench.scheduler.blocked(), Some(&Blocked::NoPeers));
}

#[test]
fn when_all_peers_are_bad_they_are_asked_again_later() {
    let mut bench = Bench::new(SchedulerConfig { follow: false, ..SchedulerConfig::default() }, 1);
    bench.scheduler.load(vec![missing(1, 2)], 1);
    for _ in 0..3 {
        bench.scheduler.peer_status(PeerId::random(), status(1));
    }
    let mut asked = 0;
    for _ in 0..100 {
        for action in bench.poll() {
            asked += 1;
            bench.finish(&action, Outcome::Broken, &[]);
        }
        bench.now += Duration::from_secs(1);
    }
    assert!((12..300).contains(&asked), "again and again, and not all the time: {asked}");
    bench.now += Duration::from_secs(60);
    let actions = bench.poll();
    assert!(!actions.is_empty());
    for action in actions {
        let all = items(&action);
        bench.finish(&action, Outcome::Answered, &all);
    }
}

#[test]
fn a_peer_is_not_asked_for_what_it_does_not_claim() {
    let mut bench = Bench::new(SchedulerConfig { follow: false, ..SchedulerConfig::default() }, 9);
    bench.scheduler.load(vec![missing(9, 2)], 9);
    let low = PeerId::random();
    bench.scheduler.peer_status(low, status(8));
    assert!(bench.poll().is_empty());
    assert_eq!(bench.scheduler.blocked(), Some(&Blocked::NobodyHas(9..10)));
    let pruned = PeerId::random();
    bench.scheduler.peer_status(pruned, Status { earliest_blob_height: 10, ..status(20) });
    let actions = bench.poll();
    assert_eq!(actions.len(), 1, "the payload only: {actions:?}");
    assert_eq!(actions[0].fetch.method(), Method::PayloadsByRange);
}

#[test]
fn a_retry_asks_only_for_what_is_missing_and_somebody_else() {
    let mut bench = Bench::new(SchedulerConfig::default(), 1);
    let (first, second) = (PeerId::random(), PeerId::random());
    bench.scheduler.peer_status(first, status(1));
    bench.scheduler.load(vec![missing(1, 6)], 1);
    let actions = blob_actions(bench.poll());
    assert_eq!(actions[0].fetch.method(), Method::BlobsByRange);
    bench.scheduler.peer_status(second, status(1));
    let kept: Vec<Item> = items(&actions[0]).into_iter().filter(|item| *item != Item::Blob(1, 2)).collect();
    bench.finish(&actions[0], Outcome::Answered, &kept);
    let retry = blob_actions(bench.poll());
    assert_eq!(retry.len(), 1);
    assert_eq!(items(&retry[0]), vec![Item::Blob(1, 2)]);
    assert_eq!((retry[0].source, retry[0].fetch.method()), (second.into(), Method::BlobsByRoot));
}

#[test]
fn a_faulty_item_is_never_asked_of_its_sender_again() {
    let mut bench = Bench::new(SchedulerConfig::default(), 1);
    let liar = PeerId::random();
    bench.scheduler.peer_status(liar, status(1));
    bench.scheduler.load(vec![missing(1, 1)], 1);
    let actions = blob_actions(bench.poll());
    bench.finish(&actions[0], Outcome::Answered, &[Item::Blob(1, 0)]);
    bench.scheduler.faulty(liar.into(), Item::Blob(1, 0), bench.now);
    for _ in 0..100 {
        bench.now += Duration::from_secs(1);
        assert!(blob_actions(bench.poll()).is_empty());
    }
    let honest = PeerId::random();
    bench.scheduler.peer_status(honest, status(1));
    assert_eq!(blob_actions(bench.poll())[0].source, honest.into());
}

#[test]
fn a_fault_that_is_found_before_the_exchange_ends_is_not_lost() {
    let mut bench = Bench::new(SchedulerConfig::default(), 1);
    let liar = PeerId::random();
    bench.scheduler.peer_status(liar, status(1));
    bench.scheduler.load(vec![missing(1, 2)], 1);
    let actions = blob_actions(bench.poll());
    bench.scheduler.faulty(liar.into(), Item::Blob(1, 0), bench.now);
    bench.scheduler.stored(Item::Blob(1, 1));
    bench.finish(&actions[0], Outcome::Answered, &items(&actions[0]));
    let honest = PeerId::random();
    bench.scheduler.peer_status(honest, status(1));
    let retry = blob_actions(bench.poll());
    assert_eq!(items(&retry[0]), vec![Item::Blob(1, 0)]);
    assert_eq!(retry[0].source, honest.into());
}

#[test]
fn reserved_bytes_never_exceed_the_budget_and_come_back() {
    let budget = 64 * SIDECAR_BYTES;
    let config = SchedulerConfig {
        max_buffered_bytes: budget,
        max_request_bytes: 8 * SIDECAR_BYTES,
        ..SchedulerConfig::default()
    };
    let mut bench = Bench::new(config, 1);
    for _ in 0..40 {
        bench.scheduler.peer_status(PeerId::random(), status(1));
    }
    bench.scheduler.load(vec![missing(1, 1024)], 1);
    let mut asked = BTreeSet::new();
    let mut in_flight: Vec<Action> = Vec::new();
    for _ in 0..10_000 {
        in_flight.extend(bench.poll());
        assert!(bench.scheduler.buffered_bytes() <= budget, "{}", bench.scheduler.buffered_bytes());
        let Some(action) = in_flight.pop() else { break };
        bench.finish(&action, Outcome::Answered, &items(&action));
        for item in items(&action) {
            assert!(asked.insert(item), "{item:?} asked for twice");
            bench.scheduler.stored(item);
        }
    }
    assert_eq!(asked.len(), 1025);
    assert_eq!(bench.scheduler.buffered_bytes(), 0);
}

#[test]
fn one_height_is_fetched_from_several_peers_at_once() {
    let mut bench = Bench::new(SchedulerConfig::default(), 1);
    for _ in 0..4 {
        bench.scheduler.peer_status(PeerId::random(), status(1));
    }
    bench.scheduler.load(vec![missing(1, 512)], 1);
    let peers: BTreeSet<SourceId> = blob_actions(bench.poll()).into_iter().map(|action| action.source).collect();
    assert!(peers.len() > 1);
}

#[test]
fn no_peer_has_more_exchanges_of_a_method_than_the_protocol_allows() {
    let mut bench = Bench::new(SchedulerConfig::default(), 400);
    let peer = PeerId::random();
    bench.scheduler.peer_status(peer, status(400));
    bench.scheduler.load((1..=400).map(|height| missing(height, 6)).collect(), 400);
    let mut open: BTreeMap<Method, usize> = BTreeMap::new();
    for action in bench.poll() {
        *open.entry(action.fetch.method()).or_default() += 1;
    }
    assert!(open.values().all(|count| *count <= lapis_protocol_spec::MAX_CONCURRENT_REQUESTS), "{open:?}");
}

#[test]
fn an_item_larger_than_the_budget_is_fetched_alone() {
    let config = SchedulerConfig {
        max_buffered_bytes: 2 * SIDECAR_BYTES,
        max_request_bytes: SIDECAR_BYTES,
        ..SchedulerConfig::default()
    };
    let mut bench = Bench::new(config, 1);
    bench.scheduler.peer_status(PeerId::random(), status(1));
    let huge = Value { height: 1, payload_size: 30 * 1024 * 1024, ..Value::default() };
    let value = IdentifiedValue::new(Arc::new(huge));
    bench.scheduler.load(vec![Missing { value, payload: true, blobs: Vec::new() }], 1);
    assert_eq!(items(&bench.poll()[0]), vec![Item::Payload(1)]);
}

#[test]
fn data_stays_within_reach_of_import() {
    let config = SchedulerConfig { max_heights_ahead: 10, ..SchedulerConfig::default() };
    let mut bench = Bench::new(config, 100);
    assert_eq!(bench.scheduler.wants_load(), Some(1..11));
    bench.scheduler.load(Vec::new(), 10);
    assert_eq!(bench.scheduler.wants_load(), None);
    bench.poll();
    assert_eq!(bench.scheduler.blocked(), Some(&Blocked::ImporterBehind));
    bench.scheduler.set_imported(5);
    assert_eq!(bench.scheduler.wants_load(), Some(11..16));
}

#[test]
fn s1_a_lying_height_does_not_keep_the_node_from_honest_peers() {
    let mut bench = Bench::new(SchedulerConfig::default(), 0);
    let (liar, honest) = (PeerId::random(), PeerId::random());
    bench.scheduler.peer_status(liar, status(u64::MAX));
    bench.scheduler.peer_status(honest, status(64));
    let mut committed = lapis_protocol_spec::HeightRanges::new();
    for _ in 0..200 {
        for action in bench.poll() {
            let Fetch::Values(heights) = &action.fetch else { continue };
            let served =
                if action.source == honest.into() { heights.end.min(65).saturating_sub(heights.start) } else { 0 };
            let outcome = if served > 0 { Outcome::Answered } else { Outcome::Unavailable };
            let report = Report { values: served, bytes: served * 500, ..Report::empty(outcome) };
            let asked = bench.scheduler.finished(action.id, &report, bench.now);
            if served > 0 {
                let Ended::Values(heights) = asked else { panic!("{asked:?}") };
                committed.insert(heights.start..heights.start + served);
                bench.scheduler.set_decided(committed.contiguous_from(1));
            }
        }
        bench.now += Duration::from_millis(50);
    }
    assert_eq!(bench.scheduler.values.decided(), 64);
}

#[test]
fn fixed_pacing_asks_one_thing_at_a_time() {
    let gap = Duration::from_millis(200);
    let config = SchedulerConfig { pacing: Pacing::Fixed(gap), ..SchedulerConfig::default() };
    let mut bench = Bench::new(config, 50);
    bench.scheduler.peer_status(PeerId::random(), status(50));
    bench.scheduler.load((1..=50).map(|height| missing(height, 6)).collect(), 50);
    let first = bench.poll();
    assert_eq!(first.len(), 1);
    bench.finish(&first[0], Outcome::Answered, &items(&first[0]));
    assert!(bench.poll().is_empty());
    bench.now += gap;
    assert_eq!(bench.poll().len(), 1);
}

#[test]
fn simulated_networks_finish_whenever_each_item_has_one_honest_holder() {
    for seed in 0..150 {
        let mut network = Network::random(seed, 60);
        let trace = network.run(Duration::from_secs(3600));
        assert!(network.is_complete(), "seed {seed}: {:?} after {} steps", network.progress(), trace.len());
        assert!(network.peak_buffered <= network.budget, "seed {seed}");
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let run = || Network::random(11, 40).run(Duration::from_secs(600));
    assert_eq!(run(), run());
}

#[test]
fn an_index_missing_everywhere_stalls_with_its_reason_and_goes_on_when_it_appears() {
    let mut network = Network::new(3, 5, vec![Behaviour::Honest, Behaviour::Honest]);
    network.withhold(Item::Blob(3, 2));
    network.run(Duration::from_secs(120));
    assert_eq!(network.missing(), vec![Item::Blob(3, 2)]);
    assert!(matches!(network.blocked(), Some(Blocked::NobodyHas(heights)) if heights.contains(&3)));
    network.release();
    network.run(Duration::from_secs(120));
    assert!(network.is_complete());
}

#[test]
fn a_range_request_runs_over_heights_without_blobs() {
    let mut bench = Bench::new(SchedulerConfig { follow: false, ..SchedulerConfig::default() }, 5);
    bench.scheduler.peer_status(PeerId::random(), status(5));
    bench.scheduler.load((1..=5).map(|height| missing(height, (height % 2) * 3)).collect(), 5);
    let actions = blob_actions(bench.poll());
    assert_eq!(actions.len(), 1, "{actions:?}");
    let heights: BTreeSet<Height> = items(&actions[0]).iter().map(|item| item.height()).collect();
    assert_eq!(heights, BTreeSet::from([1, 3, 5]));
}

#[test]
fn parts_of_a_height_that_nobody_has_whole_are_asked_for_by_hash() {
    let mut bench = Bench::new(SchedulerConfig::default(), 4);
    let peer = PeerId::random();
    bench.scheduler.peer_status(peer, Status { available_height: 3, ..status(4) });
    bench.scheduler.load(vec![missing(4, 2)], 4);
    let by_range = blob_actions(bench.poll());
    assert_eq!(by_range[0].fetch.method(), Method::BlobsByRange);
    bench.finish(&by_range[0], Outcome::Unavailable, &[]);
    bench.now += Duration::from_secs(1);
    let by_hash = blob_actions(bench.poll());
    assert_eq!(by_hash[0].fetch.method(), Method::BlobsByRoot);
}

#[test]
fn a_full_disk_is_not_met_with_requests_at_full_speed() {
    let mut bench = Bench::new(SchedulerConfig::default(), 1);
    bench.scheduler.peer_status(PeerId::random(), status(1));
    bench.scheduler.load(vec![missing(1, 1)], 1);
    let actions = blob_actions(bench.poll());
    bench.finish(&actions[0], Outcome::Answered, &items(&actions[0]));
    bench.scheduler.not_stored(Item::Blob(1, 0), bench.now);
    assert!(blob_actions(bench.poll()).is_empty());
    bench.now += Duration::from_secs(2);
    assert_eq!(blob_actions(bench.poll()).len(), 1);
}

#[test]
fn two_boasters_among_five_do_not_move_the_target() {
    let mut bench = Bench::new(SchedulerConfig::default(), 3);
    for claimed in [u64::MAX, u64::MAX, 10, 10, 9] {
        bench.scheduler.peer_status(PeerId::random(), status(claimed));
    }
    assert_eq!(bench.scheduler.target(), 10);
}

#[test]
fn a_range_of_values_that_we_cut_short_does_not_shrink_the_claim() {
    let mut bench = Bench::new(SchedulerConfig::default(), 0);
    let peer = PeerId::random();
    bench.scheduler.peer_status(peer, status(1000));
    let first = bench.poll();
    let report = Report { values: 5, bytes: 5_000_000, ..Report::empty(Outcome::Local) };
    bench.scheduler.finished(first[0].id, &report, bench.now);
    bench.scheduler.set_decided(5);
    let next = bench.poll();
    assert!(
        next.iter().any(|action| matches!(&action.fetch, Fetch::Values(heights) if heights.start == 6)),
        "{next:?}"
    );
}
