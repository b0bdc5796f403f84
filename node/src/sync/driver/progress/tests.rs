#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use super::*;

const CONFIG: WatchdogConfig =
    WatchdogConfig { rotate_after: Duration::from_secs(10), stuck_after: Duration::from_secs(30) };

fn at(available: Height) -> Watermarks {
    Watermarks { decided: 100, available, ..Watermarks::default() }
}

/// Looks once a second for so long, at the seconds at which other peers are asked for and those at which it is stuck.
fn watch(blocked: &Blocked, seconds: u64, moves_at: Option<u64>) -> (Vec<u64>, Vec<u64>) {
    let start = Instant::now();
    let mut progress = Progress::new(CONFIG, at(7), start);
    let (mut rotations, mut stuck) = (Vec::new(), Vec::new());
    for second in 1..=seconds {
        let now = start + Duration::from_secs(second);
        if moves_at == Some(second) {
            progress.moved(now);
        }
        progress.stall(at(7), 100, Some(blocked), 0, now);
        if progress.wants_rotation(now) {
            rotations.push(second);
        }
        if progress.is_stuck(now) {
            stuck.push(second);
        }
    }
    (rotations, stuck)
}

#[test]
fn other_peers_are_tried_first_and_then_the_node_is_stuck() {
    let (rotations, stuck) = watch(&Blocked::NobodyHas(8..101), 32, None);
    assert_eq!((rotations, stuck), (vec![10, 20, 30], vec![30, 31, 32]));
}

#[test]
fn progress_begins_it_anew() {
    let (rotations, stuck) = watch(&Blocked::PeersBusy(8..101), 45, Some(12));
    assert_eq!((rotations, stuck), (vec![10, 22, 32, 42], vec![42, 43, 44, 45]));
}

#[test]
fn our_own_trouble_costs_no_peer_its_place() {
    for blocked in [Blocked::BufferFull, Blocked::OwnTrouble, Blocked::ImporterBehind] {
        assert_eq!(watch(&blocked, 30, None), (vec![], vec![30]));
    }
}

#[test]
fn at_the_head_nothing_is_wrong() {
    let start = Instant::now();
    let mut progress = Progress::new(CONFIG, at(100), start);
    let later = start + Duration::from_secs(3600);
    assert_eq!(progress.stall(at(100), 100, None, 0, later), None);
    assert!(!progress.wants_rotation(later) && !progress.is_stuck(later));
    assert_eq!(progress.without(later), Duration::ZERO);
}

#[test]
fn requests_that_nobody_answers_are_no_lack_of_holders() {
    let start = Instant::now();
    let later = start + STALL_AFTER;
    let stall = |in_flight| Progress::new(CONFIG, at(7), start).stall(at(7), 100, None, in_flight, later);
    assert_eq!((stall(3), stall(0)), (Some(Blocked::PeersBusy(8..101)), Some(Blocked::NobodyHas(8..101))));
}
