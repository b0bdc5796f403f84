//! The server's side of exchanges: admits streams, answers them, and tells the service what it learned.
//!
//! Bounds: so many exchanges in all and per peer and protocol, each with a request within the bounds of its method and
//! one item. Streams beyond their peer's share wait a moment for room and are then told so; only a few of a peer wait
//! at a time, more of them, and those beyond the total, are reset.

mod answer;
mod request;
mod write;

use std::{sync::Arc, time::Duration};

use lapis_protocol_spec::{GoodbyeReason, MAX_CONCURRENT_REQUESTS, Method, Status};
use libp2p::PeerId;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch},
    task::{JoinError, JoinSet},
};
use tokio_util::sync::CancellationToken;

use crate::{
    Offence, Provider, ServiceError, Timeouts,
    handle::OwnStatus,
    limiter::Limiter,
    limits::ExchangeLimits,
    metrics::{Metrics, Side},
    permits::{KeyedPermit, KeyedPermits},
    streams::Inbound,
};

use answer::Answer;

/// What the service learns from requests of others.
#[derive(Debug)]
pub(crate) enum Notice {
    /// A peer told its status, and was told ours.
    Status(PeerId, Status),
    /// A peer leaves.
    Goodbye(PeerId, GoodbyeReason),
    /// A peer did something wrong.
    Offence(PeerId, Offence),
}

/// What all exchanges share.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    pub(crate) provider: ProviderRef,
    pub(crate) limiter: Arc<Limiter>,
    pub(crate) own_status: watch::Receiver<OwnStatus>,
    pub(crate) notices: mpsc::Sender<Notice>,
    pub(crate) timeouts: Timeouts,
    pub(crate) metrics: Metrics,
}

/// The node's provider.
#[derive(Clone)]
pub(crate) struct ProviderRef(pub(crate) Arc<dyn Provider>);

impl std::fmt::Debug for ProviderRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Provider")
    }
}

/// Permission to serve one exchange, shared with the thread that reads for it, and given back when both are done.
#[derive(Debug)]
struct Admission {
    _total: OwnedSemaphorePermit,
    _share: KeyedPermit<(PeerId, Method)>,
}

/// Streams of one peer, on all protocols, that wait for room at a time. As many as a client of ours may give up and
/// replace in one go on one protocol.
const WAITING_PER_PEER: usize = MAX_CONCURRENT_REQUESTS;

/// An exchange that is to be served, at once or when its peer has room.
#[derive(Debug)]
struct Entry {
    total: OwnedSemaphorePermit,
    share: Share,
}

/// Where an exchange stands with its peer's share.
#[derive(Debug)]
enum Share {
    /// One of those that the protocol allows.
    Held(KeyedPermit<(PeerId, Method)>),
    /// More than that.
    Waiting(KeyedPermits<(PeerId, Method)>, KeyedPermit<PeerId>),
}

impl Entry {
    /// Waits for room for `limit` at most.
    async fn admit(self, peer: PeerId, method: Method, limit: Duration) -> Option<Arc<Admission>> {
        let share = match self.share {
            Share::Held(share) => share,
            Share::Waiting(shares, _place) => tokio::time::timeout(limit, shares.acquire((peer, method))).await.ok()?,
        };
        Some(Arc::new(Admission { _total: self.total, _share: share }))
    }
}

/// Accepts streams and runs a task for each.
#[derive(Debug)]
pub(crate) struct Server {
    context: Context,
    inbound: mpsc::Receiver<Inbound>,
    total: Arc<Semaphore>,
    shares: KeyedPermits<(PeerId, Method)>,
    /// Places to wait in, few per peer, so that waiting takes no room from serving.
    places: KeyedPermits<PeerId>,
    tasks: JoinSet<()>,
}

impl Server {
    pub(crate) fn new(context: Context, inbound: mpsc::Receiver<Inbound>, limits: &ExchangeLimits) -> Self {
        Self {
            context,
            inbound,
            total: Arc::new(Semaphore::new(limits.inbound as usize)),
            shares: KeyedPermits::new(limits.inbound_per_protocol as usize),
            places: KeyedPermits::new(WAITING_PER_PEER),
            tasks: JoinSet::new(),
        }
    }

    /// Serves until `stop`, then lets what is under way come to its end, within the time for it.
    ///
    /// # Errors
    /// [`ServiceError::Panicked`] if answering a request panicked.
    pub(crate) async fn run(mut self, stop: CancellationToken) -> Result<(), ServiceError> {
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                Some(inbound) = self.inbound.recv() => self.admit(inbound),
                Some(ended) = self.tasks.join_next() => check(ended)?,
            }
        }
        // Streams that come from now on are reset.
        self.inbound.close();
        while self.inbound.try_recv().is_ok() {}
        let drain = self.context.timeouts.drain;
        let drained = tokio::time::timeout(drain, async {
            while let Some(ended) = self.tasks.join_next().await {
                check(ended)?;
            }
            Ok(())
        });
        // What is not done in time is reset with its task.
        drained.await.unwrap_or(Ok(()))
    }

    fn admit(&mut self, inbound: Inbound) {
        let (peer, method) = (inbound.peer, inbound.method);
        let mut record = self.context.metrics.begin(method, Side::Server);
        let Ok(total) = self.total.clone().try_acquire_owned() else {
            tracing::debug!(%peer, method = method.name(), "stream reset: all exchanges are taken");
            record.outcome("no_room");
            return;
        };
        let Some(share) = self.share(peer, method) else {
            record.outcome("rate_limited");
            // Lost when the service is behind: there are more where it came from.
            let _ = self.context.notices.try_send(Notice::Offence(peer, Offence::TooManyStreams));
            return;
        };
        let answer = Answer::new(self.context.clone(), inbound, record);
        self.tasks.spawn(answer.run(Entry { total, share }));
    }
}

impl Server {
    fn share(&self, peer: PeerId, method: Method) -> Option<Share> {
        let held = self.shares.try_acquire((peer, method)).map(Share::Held);
        held.or_else(|| Some(Share::Waiting(self.shares.clone(), self.places.try_acquire(peer)?)))
    }
}

fn check(ended: Result<(), JoinError>) -> Result<(), ServiceError> {
    match ended {
        Err(error) if error.is_panic() => Err(ServiceError::Panicked("serving")),
        Ok(()) | Err(_) => Ok(()),
    }
}
