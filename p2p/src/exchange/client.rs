//! Opening exchanges: permit, stream, request.

use std::{
    future::Future,
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::AsyncWriteExt;
use lapis_protocol_spec::{
    MAX_CONCURRENT_REQUESTS, Method, Request,
    framing::{Encoder, ResponseDecoder},
};
use libp2p::PeerId;

use super::{Active, Exchange, READ_BUFFER, max_chunks, outcome_name, pace::Pace};
use crate::{
    RequestError, Timeouts,
    limiter::{Class, Limiter},
    metrics::{Metrics, Side},
    permits::{KeyedPermit, KeyedPermits},
    streams::{Channel, Control, OpenError},
};

/// Opens exchanges; clones share the permits.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    control: Control,
    permits: KeyedPermits<(PeerId, Method)>,
    limiter: Arc<Limiter>,
    metrics: Metrics,
    timeouts: Timeouts,
}

impl Client {
    pub(crate) fn new(control: Control, limiter: Arc<Limiter>, metrics: Metrics, timeouts: Timeouts) -> Self {
        Self { control, permits: KeyedPermits::new(MAX_CONCURRENT_REQUESTS), limiter, metrics, timeouts }
    }

    /// Sends `request` to `peer` when there is a permit and our own pace allows it. Cancel-safe: a dropped call leaves nothing behind.
    pub(crate) async fn request(&self, peer: PeerId, request: &Request) -> Result<Exchange, RequestError> {
        let method = request.method();
        let mut encoded = Vec::new();
        Encoder::new().request(method.request_bounds(), &[&request.encode()], &mut encoded)?;
        let permit = self.turn(peer, method).await?;
        let mut record = self.metrics.begin(method, Side::Client);
        let sent = self.send(peer, method, &encoded).await;
        let channel = sent.inspect_err(|error| record.outcome(outcome_name(error.fault())))?;
        record.sent(encoded.len());
        let max_chunks = max_chunks(request);
        Ok(Exchange {
            peer,
            method,
            decoder: ResponseDecoder::new(method.response_bounds()),
            buffer: vec![0; READ_BUFFER].into_boxed_slice(),
            unread: 0..0,
            max_chunks,
            chunks_left: max_chunks,
            pace: Pace::new(&self.timeouts, Instant::now()),
            unpaid: 0,
            limiter: self.limiter.clone(),
            record,
            active: Some(Active { channel, _permit: permit }),
        })
    }

    async fn turn(&self, peer: PeerId, method: Method) -> Result<KeyedPermit<(PeerId, Method)>, RequestError> {
        let waited = self.timeouts.permit;
        let turn = async {
            let permit = self.permits.acquire((peer, method)).await;
            self.limiter.own_request(peer, class_of(method)).await;
            permit
        };
        tokio::time::timeout(waited, turn).await.map_err(|_| RequestError::NoPermit { peer, method, waited })
    }

    /// Opens a stream and writes the request.
    async fn send(&self, peer: PeerId, method: Method, request: &[u8]) -> Result<Channel, RequestError> {
        let limit = self.timeouts.request;
        let mut channel = within(limit, self.open(peer, method)).await?;
        within(limit, async { send(&mut channel, request).await.map_err(RequestError::Io) }).await?;
        Ok(channel)
    }

    async fn open(&self, peer: PeerId, method: Method) -> Result<Channel, RequestError> {
        self.control.open(peer, method).await.map_err(|error| match error {
            OpenError::NotConnected => RequestError::NotConnected(peer),
            OpenError::Unsupported => RequestError::Unsupported { peer, method },
            OpenError::Timeout => RequestError::Timeout(self.timeouts.request),
            OpenError::Io(error) => RequestError::Io(error),
            OpenError::Stopped => RequestError::Stopped,
        })
    }
}

/// What keeps a peer is not to wait for data.
const fn class_of(method: Method) -> Class {
    match method {
        Method::Status | Method::Ping | Method::Goodbye => Class::NearHead,
        Method::DecidedValuesByRange
        | Method::ValidatorSetByRoot
        | Method::PayloadsByRange
        | Method::PayloadsByRoot
        | Method::BlobsByRange
        | Method::BlobsByRoot => Class::CatchUp,
    }
}

/// Writes a request in one piece and closes this side of the stream.
async fn send(channel: &mut Channel, request: &[u8]) -> io::Result<()> {
    channel.write_all(request).await?;
    channel.close().await
}

async fn within<T>(limit: Duration, work: impl Future<Output = Result<T, RequestError>>) -> Result<T, RequestError> {
    tokio::time::timeout(limit, work).await.map_err(|_| RequestError::Timeout(limit))?
}
