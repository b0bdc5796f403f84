//! The server's side of exchanges: admits streams, answers them, and tells the service what it learned.
//!
//! Bounds: so many exchanges in all and per peer and protocol, each with a request within the bounds of its method and
//! one item. Peers share the places, so that one that has none gets one. Streams beyond their peer's share wait a moment
//! for room and are then told so, as are those for which there is no place; only a few of a peer wait like that at a
//! time, more of them are reset. Some places are kept for requests near the head; who catches up is told when all others
//! are taken. Within its place every exchange waits for the limiter, which refuses nothing. A client that gives up
//! meanwhile is noticed, and its place is free again.

mod admission;
mod answer;
mod class;
mod places;
mod reading;
mod request;
mod write;

use std::sync::Arc;

use lapis_protocol_spec::{GoodbyeReason, Status};
use libp2p::PeerId;
use tokio::{
    sync::{mpsc, watch},
    task::{JoinError, JoinSet},
};
use tokio_util::sync::CancellationToken;

use crate::{
    Offence, Provider, ServiceError, Timeouts,
    handle::OwnStatus,
    limiter::Limiter,
    limits::ExchangeLimits,
    metrics::{Metrics, Side},
    streams::Inbound,
};

use admission::{Admissions, Refusal};
use answer::Answer;
pub(crate) use reading::ReadTimes;

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
    /// How many of the newest decided heights are near the head.
    pub(crate) near_head_heights: u64,
    pub(crate) metrics: Metrics,
    pub(crate) read_times: Arc<ReadTimes>,
}

/// The node's provider.
#[derive(Clone)]
pub(crate) struct ProviderRef(pub(crate) Arc<dyn Provider>);

impl std::fmt::Debug for ProviderRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Provider")
    }
}

/// Accepts streams and runs a task for each.
#[derive(Debug)]
pub(crate) struct Server {
    context: Context,
    inbound: mpsc::Receiver<Inbound>,
    admissions: Admissions,
    tasks: JoinSet<()>,
}

impl Server {
    /// `near_head_percent` of the places are kept for exchanges near the head. There are at most so many `peers`.
    pub(crate) fn new(
        context: Context,
        inbound: mpsc::Receiver<Inbound>,
        limits: &ExchangeLimits,
        near_head_percent: u8,
        peers: u32,
    ) -> Self {
        Self { context, inbound, admissions: Admissions::new(limits, near_head_percent, peers), tasks: JoinSet::new() }
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
        match self.admissions.enter(peer, method) {
            Ok(entry) => {
                let answer = Answer::new(self.context.clone(), inbound, record);
                self.tasks.spawn(answer.run(entry));
            }
            Err(Refusal::NoRoom) => {
                let Some(turn) = self.admissions.turn_away(peer) else {
                    tracing::debug!(%peer, method = method.name(), "stream reset: no place for it");
                    self.context.metrics.denied("no_room");
                    record.outcome("no_room");
                    return;
                };
                // A reset would be taken for a fault of this node.
                let answer = Answer::new(self.context.clone(), inbound, record);
                self.tasks.spawn(answer.turn_away(turn));
            }
            Err(Refusal::TooManyOfPeer) => {
                self.context.metrics.denied("too_many_streams");
                record.outcome("rate_limited");
                // Lost when the service is behind: there are more where it came from.
                let _ = self.context.notices.try_send(Notice::Offence(peer, Offence::TooManyStreams));
            }
        }
    }
}

fn check(ended: Result<(), JoinError>) -> Result<(), ServiceError> {
    match ended {
        Err(error) if error.is_panic() => Err(ServiceError::Panicked("serving")),
        Ok(()) | Err(_) => Ok(()),
    }
}
