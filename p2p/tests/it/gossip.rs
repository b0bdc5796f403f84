//! Announcements.

use futures::{AsyncWriteExt, StreamExt};
use lapis_p2p::{Acceptance, Announcement, AnnouncementId, Event, Offence, Quota};
use lapis_protocol_spec::{Bytes20, Bytes64, CommitSignature, DecidedValue};
use libp2p::{PeerId, StreamProtocol};
use rand::{Rng, SeedableRng, rngs::StdRng};

use crate::{
    harness::{MEMORY, Node, TCP, connect, eventually, genesis, within},
    provider::decided,
    raw::Raw,
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

/// An announcement of some 80 kB that cannot be compressed, another one at each height.
fn large(height: u64) -> DecidedValue {
    let mut rng = StdRng::seed_from_u64(height);
    let mut decided = decided(height);
    let signatures = std::iter::repeat_with(|| CommitSignature {
        address: Bytes20::default(),
        signature: Bytes64::from(rng.random::<[u8; 64]>()),
    });
    decided.certificate.signatures = signatures.take(1000).collect::<Vec<_>>().try_into().unwrap();
    decided
}

/// Announcements that wait for one who does not read are few, and it pays for it.
#[tokio::test]
async fn who_does_not_read_announcements_is_a_slow_reader() {
    let mut node = Node::start(TCP).await;
    let mut raw = Raw::start(None).await;
    raw.answer_statuses(genesis());
    let meshsub = StreamProtocol::new("/meshsub/1.1.0");
    let mut unread = raw.control.accept(meshsub.clone()).unwrap();
    within(node.handle.dial(raw.address.clone())).await.unwrap();
    node.ready().await;
    let mut stream = within(raw.control.open_stream(node.id(), meshsub)).await.unwrap();
    // An RPC with one subscription: { subscribe: true, topic }, each behind its length.
    let topic = b"/lapis/07070707/decided_value/ssz_snappy";
    let length = u8::try_from(topic.len()).unwrap();
    let mut rpc = vec![length + 6, 0x0a, length + 4, 0x08, 1, 0x12, length];
    rpc.extend_from_slice(topic);
    stream.write_all(&rpc).await.unwrap();
    stream.flush().await.unwrap();
    let _never_read = within(unread.next()).await.unwrap();
    node.announce(&large(1)).await;
    for height in 2..100 {
        let _ = within(node.handle.announce(&large(height))).await;
    }
    let info = node.info_when(raw.id, |info| info.last_fault.is_some()).await;
    assert_eq!(info.last_fault.unwrap().offence, Offence::SlowReader);
}
