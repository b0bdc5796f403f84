#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::{sync::Arc, time::Duration};

use lapis_protocol_spec::Bytes32;

use super::*;
use crate::peers::{Link, Offence, ScoreRules, TableRules, Verdict};

const HOUR: Duration = Duration::from_secs(3600);

fn table(trusted: PeerId) -> Table {
    Table::new(TableRules {
        genesis_id: Bytes32::from([7; 32]),
        scores: ScoreRules::default(),
        handshake: HOUR,
        goodbye: HOUR,
        status_interval: HOUR,
        remembered: 3,
        trusted: HashSet::from([trusted]),
    })
}

fn link(number: usize, direction: Direction) -> Link {
    let address = format!("/ip4/127.0.0.1/tcp/{number}").parse().unwrap();
    Link { id: ConnectionId::new_unchecked(number), address, direction, traffic: Arc::default() }
}

#[test]
fn a_ban_by_hand_holds_until_its_end_and_replaces_another() {
    let (mut table, now, peer) = (table(PeerId::random()), Instant::now(), PeerId::random());
    assert!(table.ban(peer, now + HOUR, now));
    assert!(table.ban(peer, now + 2 * HOUR, now));
    assert!(table.is_banned(&peer, now + HOUR) && !table.is_banned(&peer, now + 2 * HOUR));
    assert_eq!(table.remembered(now).1, [Ban { peer, left: 2 * HOUR }]);
    assert!(table.unavailable(now).contains(&peer));
    assert!(table.remembered(now + 2 * HOUR).1.is_empty());
}

#[test]
fn trusted_peers_are_not_banned_by_hand() {
    let trusted = PeerId::random();
    let (mut table, now) = (table(trusted), Instant::now());
    assert!(!table.ban(trusted, now + HOUR, now));
    assert!(!table.is_banned(&trusted, now));
}

#[test]
fn a_ban_that_is_lifted_leaves_no_score_behind() {
    let (mut table, now, peer) = (table(PeerId::random()), Instant::now(), PeerId::random());
    assert!(matches!(table.report(peer, Offence::InvalidData, now), Verdict::Ban { .. }));
    assert!(table.unban(&peer, now));
    assert!(!table.unban(&peer, now), "once");
    assert_eq!(table.report(peer, Offence::InvalidRequest, now), Verdict::Keep);
}

#[test]
fn scores_are_taken_up_within_bounds() {
    let trusted = PeerId::random();
    let (mut table, now) = (table(trusted), Instant::now());
    let peers: Vec<_> = (0..5).map(|_| PeerId::random()).collect();
    for peer in &peers {
        table.restore_score(*peer, -1e300, now);
    }
    let (scores, bans) = table.remembered(now);
    assert_eq!(scores.len(), 3, "no more than are remembered");
    assert!(scores.values().all(|score| *score == -200.0), "no lower than any can be: {scores:?}");
    assert!(bans.is_empty());
    for (peer, score) in [(trusted, -50.0), (peers[0], f64::NAN), (peers[0], 7.0), (peers[0], -0.5)] {
        table.restore_score(peer, score, now);
    }
    assert_eq!(table.remembered(now).0, scores);
}

#[test]
fn what_discovery_sees_of_a_peer() {
    let trusted = PeerId::random();
    let (mut table, now) = (table(trusted), Instant::now());
    let (dialed, guest) = (PeerId::random(), PeerId::random());
    table.connected(dialed, link(1, Direction::Inbound), now);
    table.connected(dialed, link(2, Direction::Outbound), now);
    table.connected(guest, link(3, Direction::Inbound), now);
    table.connected(trusted, link(4, Direction::Inbound), now);
    let status = Status { genesis_id: Bytes32::from([7; 32]), decided_height: 5, ..Status::default() };
    table.status(dialed, status);
    let ours = Status { decided_height: 4, ..status };
    let held = table.held(&ours, now, |peer| *peer == guest);
    let of = |peer| held.iter().find(|held| held.peer == peer).unwrap();
    assert_eq!(of(dialed).direction, Direction::Outbound);
    assert_eq!(of(dialed).address.as_ref(), table.dialed_at(&dialed));
    assert!(of(dialed).ahead && !of(guest).ahead && !of(dialed).kept);
    assert!(of(guest).kept && of(trusted).kept);
    assert_eq!(of(guest).direction, Direction::Inbound);
    assert!(table.leave(guest, lapis_protocol_spec::GoodbyeReason::TooManyPeers, now));
    assert_eq!(table.held(&ours, now, |_| false).len(), 2, "who is being left is not held");
    assert_eq!(table.address_of(&dialed, ConnectionId::new_unchecked(9)), None);
}

#[test]
fn a_peer_is_ahead_if_it_claims_anything_more() {
    let ours = Status { decided_height: 10, available_height: 8, earliest_blob_height: 5, ..Status::default() };
    assert!(!is_ahead(&ours, &ours));
    assert!(is_ahead(&Status { decided_height: 11, ..ours }, &ours));
    assert!(is_ahead(&Status { available_height: 9, ..ours }, &ours));
    assert!(is_ahead(&Status { earliest_blob_height: 4, ..ours }, &ours));
    assert!(!is_ahead(&Status { earliest_blob_height: 0, ..ours }, &ours), "0 is none");
    assert!(is_ahead(&Status { earliest_blob_height: 7, ..ours }, &Status { earliest_blob_height: 0, ..ours }));
}

#[test]
fn what_a_banned_peer_does_does_not_shorten_its_ban() {
    let (mut table, now, peer) = (table(PeerId::random()), Instant::now(), PeerId::random());
    assert!(table.ban(peer, now + 1000 * HOUR, now));
    table.report(peer, Offence::InvalidData, now);
    assert_eq!(table.remembered(now).1, [Ban { peer, left: 1000 * HOUR }]);
    assert!(table.ban(peer, now + HOUR / 2, now), "who bans by hand may");
    assert_eq!(table.remembered(now).1, [Ban { peer, left: HOUR / 2 }]);
    table.report(peer, Offence::InvalidData, now);
    assert_eq!(table.remembered(now).1, [Ban { peer, left: ScoreRules::default().ban_for }], "but it may grow");
}
