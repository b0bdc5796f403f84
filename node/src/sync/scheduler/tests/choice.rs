//! Whom to ask, and what to say when nobody serves.

use super::{
    super::{
        claims::Kind,
        sources::{Need, Wanted},
    },
    *,
};

/// `peer` delivers a payload and all blobs of a height: the first blob after `latency`, each further one `gap` later.
fn delivers(bench: &mut Bench, peer: PeerId, latency: Duration, gap: Duration) {
    let height = bench.scheduler.data.loaded_to() + 1;
    bench.scheduler.load(vec![Missing { payload: false, ..missing(height, 4) }], height);
    let others: Vec<PeerId> = bench.scheduler.capacities().iter().map(|known| known.peer).collect();
    assert!(others.contains(&peer));
    for action in bench.poll() {
        bench.now += latency;
        for item in items(&action) {
            bench.scheduler.received(action.id, Some(item), SIDECAR_BYTES, bench.now);
            bench.now += gap;
        }
        bench.finish(&action, Outcome::Answered, &items(&action));
        items(&action).into_iter().for_each(|item| bench.scheduler.stored(item));
    }
}

fn blobs_only(decided: Height) -> Bench {
    Bench::new(SchedulerConfig { follow: false, ..SchedulerConfig::default() }, decided)
}

/// Peers, one after the other, each of which delivered while it was alone, at this pace.
fn with_peers(paces: &[(u64, u64)]) -> (Bench, Vec<PeerId>) {
    let mut bench = blobs_only(1000);
    let mut peers = Vec::new();
    for (latency, gap) in paces {
        let peer = PeerId::random();
        for gone in &peers {
            bench.scheduler.peer_gone(*gone);
        }
        bench.scheduler.peer_status(peer, status(1000));
        for _ in 0..4 {
            delivers(&mut bench, peer, Duration::from_millis(*latency), Duration::from_millis(*gap));
        }
        peers.push(peer);
    }
    for peer in &peers {
        bench.scheduler.peer_status(*peer, status(1000));
    }
    (bench, peers)
}

#[test]
fn a_peer_that_comes_back_is_no_stranger() {
    let (bench, peers) = with_peers(&[(10, 10), (10, 10)]);
    let known = bench.scheduler.capacities();
    assert!(peers.iter().all(|peer| known.iter().any(|known| known.peer == *peer && known.bytes_per_second.is_some())));
}

#[test]
fn the_near_one_is_asked_for_little() {
    // Both send at the same rate; one is far away.
    let (mut bench, peers) = with_peers(&[(1, 10), (900, 10)]);
    for _ in 0..20 {
        let height = bench.scheduler.data.loaded_to() + 1;
        bench.scheduler.load(vec![Missing { payload: false, ..missing(height, 1) }], height);
        let action = bench.poll().remove(0);
        assert_eq!(action.source, peers[0].into());
        bench.finish(&action, Outcome::Answered, &items(&action));
        bench.scheduler.stored(items(&action)[0]);
    }
}

#[test]
fn somebody_much_slower_is_not_asked_even_while_the_fast_one_is_busy() {
    let (mut bench, peers) = with_peers(&[(10, 5), (10, 3000)]);
    let height = bench.scheduler.data.loaded_to() + 1;
    let gap = |height| Missing { payload: false, ..missing(height, 8) };
    bench.scheduler.load((height..height + 8).map(gap).collect(), height + 8);
    let asked: BTreeSet<SourceId> = bench.poll().into_iter().map(|action| action.source).collect();
    assert_eq!(asked, BTreeSet::from([peers[0].into()]));
    bench.scheduler.peer_gone(peers[0]);
    assert!(!bench.poll().is_empty(), "but it is better than nobody");
}

#[test]
fn somebody_slower_is_asked_while_there_is_memory_to_spare() {
    let (mut bench, peers) = with_peers(&[(10, 100), (10, 300)]);
    let bytes = 10 * SIDECAR_BYTES;
    let mut drawn = |need| {
        let (kind, method) = (Kind::Blobs, Method::BlobsByRange);
        let wanted = Wanted { kind, height: 1, method, bytes, except: None, exploration_room: 0, need };
        let mut draw = || bench.scheduler.book.choose(&wanted, bench.now, &mut bench.rng).unwrap();
        (0..100).map(|_| draw()).collect::<BTreeSet<SourceId>>()
    };
    assert_eq!(drawn(Need::MemoryScarce), BTreeSet::from([peers[0].into()]));
    assert_eq!(drawn(Need::Usual), peers.into_iter().map(SourceId::from).collect());
}

#[test]
fn nobody_is_asked_at_once_for_more_than_comes_in_seconds() {
    // Ten blobs in two seconds.
    let (mut bench, _) = with_peers(&[(10, 200)]);
    let height = bench.scheduler.data.loaded_to() + 1;
    let gap = |height| Missing { payload: false, ..missing(height, 4) };
    bench.scheduler.load((height..height + 8).map(gap).collect(), height + 8);
    let asked: Vec<usize> = bench.poll().iter().map(|action| items(action).len()).collect();
    assert!(!asked.is_empty() && asked.iter().all(|count| *count <= 10), "{asked:?}");
}

#[test]
fn strangers_are_tried_now_and_then_and_with_little() {
    let (mut bench, peers) = with_peers(&[(10, 5)]);
    let stranger = PeerId::random();
    bench.scheduler.peer_status(stranger, status(1000));
    let mut tried = 0;
    for _ in 0..400 {
        let height = bench.scheduler.data.loaded_to() + 1;
        bench.scheduler.load(vec![Missing { payload: false, ..missing(height, 20) }], height);
        for action in bench.poll() {
            if action.source == stranger.into() {
                tried += 1;
                assert!(items(&action).len() <= 10, "{action:?}");
                bench.scheduler.finished(action.id, &Report::empty(Outcome::Local), bench.now);
            } else {
                assert_eq!(action.source, peers[0].into());
                bench.finish(&action, Outcome::Answered, &items(&action));
                items(&action).into_iter().for_each(|item| bench.scheduler.stored(item));
            }
        }
    }
    assert!((5..100).contains(&tried), "{tried}");
}

#[test]
fn strangers_hold_no_more_than_their_share_of_the_memory() {
    let (mut bench, peers) = with_peers(&[(10, 5)]);
    for _ in 0..200 {
        bench.scheduler.peer_status(PeerId::random(), status(1000));
    }
    let height = bench.scheduler.data.loaded_to() + 1;
    bench.scheduler.load((height..height + 100).map(|height| missing(height, 9)).collect(), height + 100);
    bench.poll();
    let strangers = bench.scheduler.capacities().into_iter().filter(|known| known.peer != peers[0]);
    let in_flight: u64 = strangers.map(|known| known.in_flight_bytes).sum();
    assert!(in_flight > 0 && in_flight <= SchedulerConfig::default().max_buffered_bytes / 4, "{in_flight}");
}

#[test]
fn a_peer_that_speaks_no_blob_method_has_no_blobs() {
    let mut bench = blobs_only(2);
    bench.scheduler.peer_status(PeerId::random(), status(2));
    bench.scheduler.load(vec![Missing { payload: false, ..missing(1, 2) }], 1);
    let actions = bench.poll();
    bench.finish(&actions[0], Outcome::Unsupported, &[]);
    for _ in 0..100 {
        assert!(bench.poll().is_empty(), "it is not asked again");
        assert_eq!(bench.scheduler.blocked(), Some(&Blocked::NobodyHas(1..2)));
        bench.now += Duration::from_secs(1);
    }
    bench.scheduler.load(vec![Missing { blobs: Vec::new(), ..missing(2, 0) }], 2);
    assert_eq!(bench.poll().len(), 1, "for payloads it is");
}

#[test]
fn peers_that_lack_what_they_claim_are_no_busy_peers() {
    let mut bench = blobs_only(1);
    let liars = [PeerId::random(), PeerId::random()];
    liars.iter().for_each(|liar| bench.scheduler.peer_status(*liar, status(1)));
    bench.scheduler.load(vec![missing(1, 2)], 1);
    for _ in 0..20 {
        for action in bench.poll() {
            bench.finish(&action, Outcome::Unavailable, &[]);
        }
        bench.now += Duration::from_millis(5);
    }
    assert!(bench.poll().is_empty(), "both have been asked");
    assert_eq!(bench.scheduler.blocked(), Some(&Blocked::NobodyHas(1..2)));
    // Somebody who only asks us to slow down has it, as far as is known.
    bench.scheduler.peer_status(PeerId::random(), status(1));
    for action in bench.poll() {
        bench.finish(&action, Outcome::RateLimited, &[]);
    }
    bench.poll();
    assert_eq!(bench.scheduler.blocked(), Some(&Blocked::PeersBusy(1..2)));
}

#[test]
fn boasters_do_not_keep_us_from_those_who_have_parts() {
    let mut bench = blobs_only(1);
    let (boaster, holder) = (PeerId::random(), PeerId::random());
    bench.scheduler.peer_status(boaster, status(u64::MAX));
    bench.scheduler.peer_status(holder, Status { available_height: 0, ..status(1) });
    bench.scheduler.load(vec![Missing { payload: false, ..missing(1, 2) }], 1);
    for _ in 0..100 {
        for action in bench.poll() {
            let by_root = action.fetch.method() == Method::BlobsByRoot;
            if action.source == holder.into() && by_root {
                return;
            }
            bench.finish(&action, Outcome::Unavailable, &[]);
        }
        bench.now += Duration::from_millis(50);
    }
    panic!("the holder was never asked by hash");
}

#[test]
fn who_takes_its_claim_back_and_makes_it_again_is_not_asked_more_often() {
    let asked = |wavers: bool| {
        let mut bench = Bench::new(SchedulerConfig::default(), 0);
        let liar = PeerId::random();
        let mut asked = 0;
        for _ in 0..600 {
            if wavers {
                bench.scheduler.peer_status(liar, status(0));
            }
            bench.scheduler.peer_status(liar, status(u64::MAX));
            for action in bench.poll() {
                asked += 1;
                bench.finish(&action, Outcome::Unavailable, &[]);
            }
            bench.now += Duration::from_millis(100);
        }
        asked
    };
    let (steady, wavering) = (asked(false), asked(true));
    assert!(wavering <= steady + 5 && wavering < 40, "{wavering} times instead of {steady}");
}

/// Bytes of the largest request among those that are made when much is missing.
fn largest_request(bench: &mut Bench) -> u64 {
    let height = bench.scheduler.data.loaded_to() + 1;
    let gap = |height| Missing { payload: false, ..missing(height, 8) };
    bench.scheduler.load((height..height + 100).map(gap).collect(), height + 99);
    let bytes = |action: Action| items(&action).len() as u64 * SIDECAR_BYTES;
    bench.poll().into_iter().map(bytes).max().unwrap()
}

/// A peer that has delivered often enough for a wide window, at this pace.
fn well_known(latency: u64, gap: u64) -> Bench {
    let (mut bench, peers) = with_peers(&[(latency, gap)]);
    for _ in 0..12 {
        delivers(&mut bench, peers[0], Duration::from_millis(latency), Duration::from_millis(gap));
    }
    bench
}

#[test]
fn who_is_fast_and_far_away_is_asked_for_more_at_once() {
    let config = SchedulerConfig::default();
    assert!(largest_request(&mut well_known(1, 20)) <= config.max_request_bytes);
    let asked = largest_request(&mut well_known(200, 2));
    assert!(asked > config.max_request_bytes && asked <= config.max_buffered_bytes / 8, "{asked}");
}

#[test]
fn a_fast_peer_that_does_not_speak_what_is_needed_is_not_waited_for() {
    let (mut bench, peers) = with_peers(&[(10, 5), (3000, 5)]);
    bench.scheduler.want_mend(Mend::ValidatorSet(lapis_protocol_spec::Bytes32::ZERO));
    let first = bench.poll();
    assert_eq!(first.iter().map(|action| action.source).collect::<Vec<_>>(), [peers[0].into()]);
    bench.finish(&first[0], Outcome::Unsupported, &[]);
    bench.now += Duration::from_secs(2);
    let second = bench.poll();
    assert_eq!(second.iter().map(|action| action.source).collect::<Vec<_>>(), [peers[1].into()]);
}

#[test]
fn who_tears_up_heights_by_giving_a_part_of_each_is_not_asked_for_more_of_them() {
    let mut bench = Bench::new(SchedulerConfig { follow: false, ..SchedulerConfig::default() }, 1000);
    let half = PeerId::random();
    bench.scheduler.peer_status(half, status(1000));
    let mut asked = 0;
    for height in 1..=20 {
        bench.scheduler.load(vec![Missing { payload: false, ..missing(height, 4) }], height);
        for action in bench.poll() {
            asked += 1;
            bench.now += Duration::from_millis(20);
            let all = items(&action);
            let (brought, _) = all.split_at(all.len() / 2);
            bench.finish(&action, Outcome::Answered, brought);
            brought.iter().for_each(|item| bench.scheduler.stored(*item));
        }
    }
    assert!(asked <= 6, "in half a second: {asked}");
}

#[test]
fn what_everything_waits_for_is_asked_of_the_best() {
    let (mut bench, peers) = with_peers(&[(10, 100), (10, 300)]);
    let height = bench.scheduler.data.loaded_to() + 1;
    bench.scheduler.load(vec![Missing { payload: false, ..missing(height, 8) }], height);
    for _ in 0..50 {
        let action = bench.poll().remove(0);
        assert_eq!(action.source, peers[0].into());
        bench.scheduler.finished(action.id, &Report::empty(Outcome::Local), bench.now);
    }
}

#[test]
fn a_stranger_is_asked_for_few_payloads() {
    let mut bench = Bench::new(SchedulerConfig { follow: false, ..SchedulerConfig::default() }, 1000);
    bench.scheduler.peer_status(PeerId::random(), status(1000));
    let large = |height| Value { payload_size: 50_000, ..Value::clone(value(height, 0).value()) };
    let gap = |height| Missing { value: IdentifiedValue::new(Arc::new(large(height))), ..missing(height, 0) };
    bench.scheduler.load((1..=100).map(gap).collect(), 100);
    let asked: Vec<usize> = bench.poll().iter().map(|action| items(action).len()).collect();
    assert!(asked.iter().all(|count| *count <= 5), "{asked:?}");
}
