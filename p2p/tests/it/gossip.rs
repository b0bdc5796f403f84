//! Announcements.

use lapis_p2p::{Acceptance, Announcement, AnnouncementId, Event, Quota};
use lapis_protocol_spec::DecidedValue;
use libp2p::PeerId;

use crate::{
    harness::{MEMORY, Node, connect, eventually, genesis, within},
    provider::decided,
};

impl Node {
    async fn announcement(&mut self) -> (AnnouncementId, PeerId, DecidedValue) {
        self.event(|event| match event {
            Event::Announcement { message, source, decided } => Some((message, source, *decided)),
            _ => None,
        })
        .await
    }

    /// Announces until somebody listens: subscriptions take a moment after a connection.
    async fn announce(&self, decided: &DecidedValue) {
        eventually(|| async {
            match self.handle.announce(decided).await.unwrap() {
                Announcement::NoPeers => None,
                Announcement::Sent | Announcement::Known => Some(()),
            }
        })
        .await;
    }
}

/// Three nodes in a line; the one in the middle judges.
async fn line() -> (Node, Node, Node) {
    let (mut a, mut b, mut c) = (Node::start(MEMORY).await, Node::start(MEMORY).await, Node::start(MEMORY).await);
    connect(&mut a, &mut b).await;
    connect(&mut c, &mut b).await;
    // One message of its own tells that the far end listens to the middle.
    b.announce(&decided(1)).await;
    for node in [&mut a, &mut c] {
        let (message, source, value) = node.announcement().await;
        assert_eq!((source, value.value.height), (b.id(), 1));
        within(node.handle.judge(message, Acceptance::Ignore)).await.unwrap();
    }
    (a, b, c)
}

#[tokio::test]
async fn only_what_was_accepted_is_forwarded() {
    let (a, mut b, mut c) = line().await;
    for (height, acceptance) in [(10, Acceptance::Ignore), (11, Acceptance::Accept), (12, Acceptance::Accept)] {
        a.announce(&decided(height)).await;
        let (message, source, value) = b.announcement().await;
        assert_eq!((source, value), (a.id(), decided(height)));
        within(b.handle.judge(message, acceptance)).await.unwrap();
    }
    // What was not accepted came first and would have come through first.
    for height in [11, 12] {
        let (_, source, value) = c.announcement().await;
        assert_eq!((source, value), (b.id(), decided(height)));
    }
    assert!(b.info(a.id()).await.unwrap().last_fault.is_none());
}

#[tokio::test]
async fn a_rejected_announcement_costs_its_sender() {
    let (a, mut b, _c) = line().await;
    a.announce(&decided(10)).await;
    let (message, _, _) = b.announcement().await;
    within(b.handle.judge(message, Acceptance::Reject)).await.unwrap();
    let info = b.info_when(a.id(), |info| info.last_fault.is_some()).await;
    assert_eq!(info.last_fault.unwrap().offence, lapis_p2p::Offence::InvalidAnnouncement);
    b.gone().await;
}

#[tokio::test]
async fn a_flood_of_announcements_costs_its_sender_though_nobody_judges_them() {
    let mut a = Node::start(MEMORY).await;
    let mut b = Node::with(MEMORY, genesis(), |config| {
        config.limits.rates.announcements_per_peer = Quota::new(1, 2).unwrap();
    })
    .await;
    connect(&mut a, &mut b).await;
    let mut height = 0;
    let fault = eventually(|| {
        height += 1;
        let (a, b, value) = (&a, &b, decided(height));
        async move {
            // Refused when it has been left.
            let _ = a.handle.announce(&value).await;
            b.info(a.id()).await?.last_fault
        }
    })
    .await;
    assert_eq!(fault.offence, lapis_p2p::Offence::TooManyAnnouncements);
}

#[tokio::test]
async fn the_same_value_is_announced_once() {
    let (a, _b, _c) = line().await;
    a.announce(&decided(20)).await;
    assert_eq!(within(a.handle.announce(&decided(20))).await.unwrap(), Announcement::Known);
}

#[tokio::test]
async fn a_node_alone_announces_to_nobody() {
    let node = Node::start(MEMORY).await;
    assert_eq!(within(node.handle.announce(&decided(1))).await.unwrap(), Announcement::NoPeers);
}
