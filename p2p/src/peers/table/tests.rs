#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::sync::Arc;

use libp2p::Multiaddr;

use super::*;
use crate::{PeerState, peers::Direction};

const SECOND: Duration = Duration::from_secs(1);

fn rules() -> TableRules {
    TableRules {
        genesis_id: Bytes32::from([7; 32]),
        scores: ScoreRules::default(),
        handshake: SECOND * 10,
        goodbye: SECOND * 2,
        status_interval: SECOND,
        remembered: 3,
        trusted: HashSet::new(),
    }
}

fn link(number: usize) -> Link {
    Link {
        id: ConnectionId::new_unchecked(number),
        address: Multiaddr::empty(),
        direction: Direction::Inbound,
        traffic: Arc::default(),
    }
}

fn status(height: u64) -> Status {
    Status { genesis_id: Bytes32::from([7; 32]), decided_height: height, ..Status::default() }
}

fn ready(table: &mut Table, now: Instant) -> PeerId {
    let peer = PeerId::random();
    table.connected(peer, link(1), now);
    assert_eq!(table.status(peer, status(1)), StatusOutcome::Ready);
    peer
}

fn state(table: &Table, peer: PeerId, now: Instant) -> Option<PeerState> {
    table.snapshot(now).into_iter().find(|info| info.peer == peer).map(|info| info.state)
}

#[test]
fn two_connections_of_one_peer_are_one_peer() {
    let (now, mut table) = (Instant::now(), Table::new(rules()));
    let peer = PeerId::random();
    assert!(table.connected(peer, link(1), now));
    assert!(table.connected(peer, link(2), now), "still to exchange statuses");
    assert_eq!(table.status(peer, status(1)), StatusOutcome::Ready);
    assert!(!table.connected(peer, link(3), now));
    assert_eq!(table.snapshot(now).len(), 1);
    assert_eq!(table.disconnected(peer, ConnectionId::new_unchecked(1), now), None);
    assert_eq!(table.disconnected(peer, ConnectionId::new_unchecked(1), now), None, "told twice");
    assert_eq!(table.disconnected(peer, ConnectionId::new_unchecked(3), now), None);
    assert_eq!(table.disconnected(peer, ConnectionId::new_unchecked(2), now), Some(PeerState::Ready));
    table.expire(now + AFTERMATH);
    assert!(table.snapshot(now).is_empty(), "nothing to remember");
}

#[test]
fn a_peer_that_cuts_its_connection_in_mid_exchange_again_and_again_pays() {
    let (mut now, mut table) = (Instant::now(), Table::new(rules()));
    let peer = PeerId::random();
    let cuts = (1..100).find(|_| {
        table.connected(peer, link(1), now);
        table.status(peer, status(1));
        table.disconnected(peer, ConnectionId::new_unchecked(1), now);
        let before = table.snapshot(now)[0].score;
        let verdict = table.report(peer, Offence::Reset, now);
        for _ in 0..10 {
            assert_eq!(table.report(peer, Offence::Truncated, now), Verdict::Keep, "what broke together is one break");
        }
        assert_eq!(table.snapshot(now)[0].score, before - Offence::Reset.price());
        now += SECOND;
        verdict == Verdict::Disconnect
    });
    assert!(cuts.is_some_and(|cuts| (25..30).contains(&cuts)), "{cuts:?}");
}

#[test]
fn one_lost_connection_costs_little_and_late_reports_nothing() {
    let (now, mut table) = (Instant::now(), Table::new(rules()));
    let peer = ready(&mut table, now);
    table.disconnected(peer, ConnectionId::new_unchecked(1), now);
    assert_eq!(table.report(peer, Offence::Reset, now + AFTERMATH), Verdict::Keep);
    assert_eq!(state(&table, peer, now), Some(PeerState::Gone));
    assert_eq!(table.snapshot(now)[0].score, 0.0);
    table.expire(now + AFTERMATH);
    assert!(table.snapshot(now).is_empty());
}

#[test]
fn a_score_follows_its_peer_across_reconnects() {
    let (now, mut table) = (Instant::now(), Table::new(rules()));
    let peer = ready(&mut table, now);
    assert_eq!(table.report(peer, Offence::Malformed, now), Verdict::Disconnect);
    table.disconnected(peer, ConnectionId::new_unchecked(1), now);
    table.connected(peer, link(2), now);
    table.connected(peer, link(3), now);
    assert_eq!(table.snapshot(now)[0].score, -60.0);
    assert!(matches!(table.report(peer, Offence::Malformed, now), Verdict::Ban { .. }), "over all its connections");
}

#[test]
fn status_makes_ready_once_then_news() {
    let (now, mut table) = (Instant::now(), Table::new(rules()));
    let peer = ready(&mut table, now);
    assert_eq!(table.status(peer, status(1)), StatusOutcome::Same);
    assert_eq!(table.status(peer, status(2)), StatusOutcome::Updated);
    assert_eq!(table.status(PeerId::random(), status(2)), StatusOutcome::Ignored);
    let other_chain = Status { genesis_id: Bytes32::ZERO, ..status(3) };
    assert_eq!(table.status(peer, other_chain), StatusOutcome::WrongNetwork);
}

#[test]
fn a_peer_that_is_left_says_nothing_more() {
    let (now, mut table) = (Instant::now(), Table::new(rules()));
    let peer = ready(&mut table, now);
    assert!(table.leave(peer, GoodbyeReason::Fault, now));
    assert!(!table.leave(peer, GoodbyeReason::Banned, now), "goodbye is said once");
    assert_eq!(table.status(peer, status(2)), StatusOutcome::Ignored);
    assert_eq!(table.ready().count(), 0);
    assert!(table.expire(now + SECOND).is_empty());
    assert_eq!(table.expire(now + SECOND * 2), [Expiry::Goodbye(peer)]);
}

#[test]
fn what_breaks_because_a_peer_is_left_costs_nothing_and_does_not_hide_why() {
    let (now, mut table) = (Instant::now(), Table::new(rules()));
    let peer = ready(&mut table, now);
    assert_eq!(table.report(peer, Offence::Unrequested, now), Verdict::Disconnect);
    let report_all = |table: &mut Table| {
        for offence in Offence::ALL.into_iter().filter(|offence| offence.is_unclear()) {
            assert_eq!(table.report(peer, offence, now), Verdict::Keep);
        }
        let info = table.snapshot(now).remove(0);
        assert_eq!(info.last_fault.map(|fault| fault.offence), Some(Offence::Unrequested));
        assert_eq!(info.score, -Offence::Unrequested.price());
    };
    table.leave(peer, GoodbyeReason::Fault, now);
    report_all(&mut table);
    table.disconnected(peer, ConnectionId::new_unchecked(1), now);
    report_all(&mut table);
    // Of others the same is told.
    let other = ready(&mut table, now);
    table.report(other, Offence::Reset, now);
    assert!(table.snapshot(now).iter().any(|info| info.peer == other && info.score < 0.0));
}

#[test]
fn bans_of_an_earlier_run_hold_until_they_are_over_and_are_bounded() {
    let (now, trusted) = (Instant::now(), PeerId::random());
    let mut table = Table::new(TableRules { trusted: [trusted].into(), ..rules() });
    let until = now + SECOND * 60;
    assert!(!table.restore_ban(trusted, until, now));
    assert!(!table.restore_ban(PeerId::random(), now, now), "over");
    let restored: Vec<_> =
        (0..10).map(|_| PeerId::random()).filter(|peer| table.restore_ban(*peer, until, now)).collect();
    assert_eq!(restored.len(), 3);
    assert!(restored.iter().all(|peer| table.is_banned(peer, until - SECOND)));
    assert!(table.expire(until - SECOND).is_empty());
    assert_eq!(table.expire(until).len(), 3);
    assert!(table.snapshot(until).is_empty());
}

#[test]
fn a_handshake_that_never_comes_expires() {
    let (now, mut table) = (Instant::now(), Table::new(rules()));
    let peer = PeerId::random();
    table.connected(peer, link(1), now);
    assert!(table.expire(now + SECOND * 9).is_empty());
    assert_eq!(table.expire(now + SECOND * 10), [Expiry::Handshake(peer)]);
}

#[test]
fn own_status_goes_out_at_most_once_per_interval_and_never_twice_at_a_time() {
    let (now, mut table) = (Instant::now(), Table::new(rules()));
    let peer = ready(&mut table, now);
    assert!(table.due_statuses(now).is_empty(), "nothing changed");
    table.own_status_changed();
    assert_eq!(table.due_statuses(now), [peer]);
    table.own_status_changed();
    assert!(table.due_statuses(now + SECOND * 5).is_empty(), "one is under way");
    table.status_sent(peer);
    assert_eq!(table.due_statuses(now + SECOND * 5), [peer], "changes meanwhile are one");
    table.status_sent(peer);
    assert!(table.due_statuses(now + SECOND * 60).is_empty());
    table.own_status_changed();
    assert_eq!(table.due_statuses(now + SECOND * 60), [peer]);
    table.status_sent(peer);
    table.own_status_changed();
    assert!(table.due_statuses(now + SECOND * 60 + SECOND / 2).is_empty(), "too soon");
    assert_eq!(table.due_statuses(now + SECOND * 61), [peer]);
}

#[test]
fn a_ban_outlives_the_connection_and_expires() {
    let (now, mut table) = (Instant::now(), Table::new(rules()));
    let peer = ready(&mut table, now);
    let until = now + ScoreRules::default().ban_for;
    assert_eq!(table.report(peer, Offence::InvalidData, now), Verdict::Ban { until });
    table.disconnected(peer, ConnectionId::new_unchecked(1), now);
    assert!(table.is_banned(&peer, until - SECOND));
    assert_eq!(state(&table, peer, now), Some(PeerState::Gone));
    assert_eq!(table.expire(until), [Expiry::Ban(peer)]);
    assert!(!table.is_banned(&peer, until));
}

#[test]
fn trusted_peers_are_reported_only() {
    let (now, trusted) = (Instant::now(), PeerId::random());
    let mut table = Table::new(TableRules { trusted: [trusted].into(), ..rules() });
    table.connected(trusted, link(1), now);
    for _ in 0..100 {
        assert_eq!(table.report(trusted, Offence::InvalidData, now), Verdict::Keep);
    }
    let info = table.snapshot(now).remove(0);
    assert!(info.trusted && info.score == 0.0 && info.banned_for.is_none());
    assert_eq!(info.last_fault.unwrap().offence, Offence::InvalidData);
}

#[test]
fn remembered_peers_are_bounded_and_forgotten_bans_are_lifted() {
    let (now, mut table) = (Instant::now(), Table::new(rules()));
    let peers: Vec<_> = (0..10).map(|_| PeerId::random()).collect();
    for (seconds, peer) in (0..).zip(&peers) {
        table.report(*peer, Offence::InvalidData, now + SECOND * seconds);
    }
    let later = now + SECOND * 20;
    assert_eq!(table.snapshot(later).len(), 3);
    let mut lifted = table.expire(later);
    lifted.sort_by_key(|expiry| peers.iter().position(|peer| *expiry == Expiry::Ban(*peer)));
    assert_eq!(lifted, peers[..7].iter().copied().map(Expiry::Ban).collect::<Vec<_>>(), "oldest first");
}

#[test]
fn connected_peers_are_never_forgotten() {
    let (now, mut table) = (Instant::now(), Table::new(rules()));
    let connected: Vec<_> = (0..10).map(|_| ready(&mut table, now)).collect();
    for _ in 0..10 {
        table.report(PeerId::random(), Offence::InvalidData, now);
    }
    assert!(connected.iter().all(|peer| table.is_connected(peer)));
    assert_eq!(table.snapshot(now).len(), 13);
}
