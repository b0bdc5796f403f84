#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use futures::FutureExt;

use super::*;

fn status(height: u64) -> Status {
    Status { decided_height: height, ..Status::default() }
}

fn announcement(number: u8, source: PeerId) -> Event {
    let message = AnnouncementId { message: gossipsub::MessageId::new(&[number]), source };
    Event::Announcement { message, source, decided: Box::default() }
}

fn next(events: &mut Events) -> Option<Event> {
    events.next().now_or_never().flatten()
}

#[test]
fn statuses_of_a_peer_are_coalesced_to_the_newest() {
    let (sender, mut events) = channel(4);
    let peer = PeerId::random();
    sender.send(Event::PeerReady { peer, status: status(1) });
    for height in 2..1000 {
        sender.send(Event::PeerStatus { peer, status: status(height) });
    }
    assert!(matches!(next(&mut events), Some(Event::PeerReady { status: s, .. }) if s == status(999)));
    assert!(next(&mut events).is_none());
    sender.send(Event::PeerStatus { peer, status: status(1000) });
    sender.send(Event::PeerStatus { peer, status: status(1001) });
    assert!(matches!(next(&mut events), Some(Event::PeerStatus { status: s, .. }) if s == status(1001)));
    assert!(next(&mut events).is_none());
}

#[test]
fn gone_is_never_lost_and_comes_before_ready_again() {
    let (sender, mut events) = channel(4);
    let peer = PeerId::random();
    sender.send(Event::PeerReady { peer, status: status(1) });
    assert!(matches!(next(&mut events), Some(Event::PeerReady { .. })));
    for round in 0..100 {
        sender.send(Event::PeerGone { peer, reason: GoneReason::Closed(round.to_string()) });
        sender.send(Event::PeerReady { peer, status: status(round) });
    }
    assert!(
        matches!(next(&mut events), Some(Event::PeerGone { reason: GoneReason::Closed(how), .. }) if how == "99"),
        "the last reason"
    );
    assert!(matches!(next(&mut events), Some(Event::PeerReady { status: s, .. }) if s == status(99)));
    assert!(next(&mut events).is_none());
}

#[test]
fn peers_that_come_and_go_unseen_leave_nothing_behind() {
    let (sender, mut events) = channel(4);
    let stays = PeerId::random();
    sender.send(Event::PeerReady { peer: stays, status: status(1) });
    for _ in 0..1000 {
        let peer = PeerId::random();
        sender.send(Event::PeerReady { peer, status: status(1) });
        sender.send(Event::PeerGone { peer, reason: GoneReason::Closed(String::new()) });
    }
    assert_eq!(sender.shared.queue().pending.len(), 1);
    assert_eq!(sender.shared.queue().order.len(), 1);
    assert!(matches!(next(&mut events), Some(Event::PeerReady { peer, .. }) if peer == stays));
    assert!(next(&mut events).is_none());
}

#[test]
fn a_peer_that_came_and_went_unseen_is_not_told_of() {
    let (sender, mut events) = channel(4);
    let peer = PeerId::random();
    sender.send(Event::PeerReady { peer, status: status(1) });
    sender.send(Event::PeerGone { peer, reason: GoneReason::Closed(String::new()) });
    assert!(next(&mut events).is_none());
    let queue = sender.shared.queue();
    assert!(queue.pending.is_empty() && queue.order.is_empty() && queue.known.is_empty());
}

#[test]
fn announcements_are_dropped_oldest_first_and_returned() {
    let (sender, mut events) = channel(2);
    let peer = PeerId::random();
    assert!(sender.send(announcement(1, peer)).is_none());
    assert!(sender.send(announcement(2, peer)).is_none());
    let dropped = sender.send(announcement(3, peer)).unwrap();
    assert_eq!(dropped.message.0, [1]);
    sender.send(Event::PeerReady { peer, status: status(1) });
    assert!(matches!(next(&mut events), Some(Event::PeerReady { .. })), "peers come first");
    for expected in [2, 3] {
        assert!(
            matches!(next(&mut events), Some(Event::Announcement { message, .. }) if message.message.0 == [expected])
        );
    }
}

#[test]
fn news_of_one_peer_does_not_hide_the_others() {
    let (sender, mut events) = channel(2);
    let (loud, quiet) = (PeerId::random(), PeerId::random());
    sender.send(Event::PeerReady { peer: loud, status: status(1) });
    sender.send(Event::PeerReady { peer: quiet, status: status(1) });
    let mut seen = Vec::new();
    for height in 0..3 {
        sender.send(Event::PeerStatus { peer: loud, status: status(height) });
        if let Some(Event::PeerReady { peer, .. } | Event::PeerStatus { peer, .. }) = next(&mut events) {
            seen.push(peer);
        }
    }
    assert!(seen.contains(&quiet), "{seen:?}");
}

#[test]
fn events_end_when_the_service_has_and_everything_is_read() {
    let (sender, mut events) = channel(2);
    sender.send(announcement(1, PeerId::random()));
    drop(sender);
    assert!(matches!(events.next().now_or_never(), Some(Some(Event::Announcement { .. }))));
    assert!(matches!(events.next().now_or_never(), Some(None)));
}
