//! What a peer was asked and what it sent.

use std::sync::Arc;

use lapis_protocol_spec::{Height, Item, Method, Request, Status};
use libp2p::PeerId;
use tokio::sync::watch;

use crate::patiently;

/// A request that was received.
#[derive(Clone, Debug)]
pub struct Asked {
    /// By whom.
    pub peer: PeerId,
    /// For what.
    pub request: Request,
}

/// An item that was written to a stream as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sent {
    /// A decided value.
    Value(Height),
    /// A validator set.
    ValidatorSet,
    /// A payload.
    Payload(Height),
    /// A blob.
    Sidecar(Height, u64),
}

/// The log of one peer.
#[derive(Clone, Debug, Default)]
pub struct Log {
    /// Requests, in the order in which they came.
    pub asked: Vec<Asked>,
    /// Items, in the order in which they went.
    pub sent: Vec<Sent>,
    /// How often the peer misbehaved.
    pub faults: usize,
    /// Heights of announcements that others passed on to it.
    pub announced: Vec<Height>,
}

impl Log {
    /// The requests for data: everything but status, ping and goodbye.
    pub fn data_requests(&self) -> impl Iterator<Item = &Request> {
        let chatter = [Method::Status, Method::Ping, Method::Goodbye];
        self.asked.iter().map(|asked| &asked.request).filter(move |request| !chatter.contains(&request.method()))
    }

    /// The places of the blobs that were sent, in order.
    pub fn sidecars(&self) -> impl Iterator<Item = (Height, u64)> + '_ {
        self.sent.iter().filter_map(|sent| match sent {
            Sent::Sidecar(height, index) => Some((*height, *index)),
            Sent::Value(_) | Sent::ValidatorSet | Sent::Payload(_) => None,
        })
    }

    /// What somebody says of itself, in its last status.
    pub fn told(&self) -> Option<&Status> {
        self.asked.iter().rev().find_map(|asked| match &asked.request {
            Request::Status(status) => Some(status),
            _ => None,
        })
    }

    /// The height up to which somebody says, in its last status, to have everything.
    pub fn told_available(&self) -> Height {
        self.told().map_or(0, |status| status.available_height)
    }
}

/// The writing end. Clones write to the same log.
#[derive(Clone, Debug)]
pub(super) struct Recorder(Arc<watch::Sender<Log>>);

/// The reading end.
#[derive(Clone, Debug)]
pub struct LogView(watch::Receiver<Log>);

pub(super) fn new() -> (Recorder, LogView) {
    let (sender, receiver) = watch::channel(Log::default());
    (Recorder(Arc::new(sender)), LogView(receiver))
}

impl Recorder {
    pub(super) fn asked(&self, peer: PeerId, request: Request) {
        self.0.send_modify(|log| log.asked.push(Asked { peer, request }));
    }

    pub(super) fn sent(&self, item: &Item) {
        let sent = match item {
            Item::DecidedValue(decided) => Sent::Value(decided.value.height),
            Item::ValidatorSet(_) => Sent::ValidatorSet,
            Item::Payload(envelope) => Sent::Payload(envelope.height),
            Item::Blob(sidecar) => Sent::Sidecar(sidecar.height, sidecar.index),
            Item::Status(_) | Item::Pong(_) => return,
        };
        self.0.send_modify(|log| log.sent.push(sent));
    }

    pub(super) fn misbehaved(&self) {
        self.0.send_modify(|log| log.faults += 1);
    }

    pub(super) fn announced(&self, height: Height) {
        self.0.send_modify(|log| log.announced.push(height));
    }
}

impl LogView {
    /// The log as it is now.
    pub fn now(&self) -> Log {
        self.0.borrow().clone()
    }

    /// Waits until the log is as `wanted`.
    pub async fn until(&self, what: &str, wanted: impl FnMut(&Log) -> bool) -> Log {
        let mut log = self.0.clone();
        patiently(what, log.wait_for(wanted)).await.expect("the peer runs").clone()
    }

    /// Waits until the peer has misbehaved.
    pub async fn misbehaved(&self) {
        self.until("the peer has an occasion to misbehave", |log| log.faults > 0).await;
    }
}
