//! Raw streams: opens one per request, hands over those that others open. Owns negotiation and nothing above it.
//!
//! Everything is bounded: requests to open a stream wait in a channel of fixed size, streams of others are handed over
//! through another one and reset when that is full. Nothing is kept of a connection that is closed.

mod behaviour;
mod handler;
mod upgrade;

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use futures::{AsyncRead, AsyncWrite, AsyncWriteExt, FutureExt};
use lapis_protocol_spec::Method;
use libp2p::PeerId;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

pub(crate) use behaviour::Behaviour;

/// Bytes that the exchanges of one connection have moved.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    received: AtomicU64,
    sent: AtomicU64,
}

impl Traffic {
    /// Received and sent.
    pub(crate) fn bytes(&self) -> (u64, u64) {
        (self.received.load(Ordering::Relaxed), self.sent.load(Ordering::Relaxed))
    }
}

/// A stream for one exchange, with what it shares with its connection.
#[derive(Debug)]
pub(crate) struct Channel {
    stream: libp2p::Stream,
    traffic: Arc<Traffic>,
    /// Cancelled when the connection is gone.
    closed: CancellationToken,
}

/// How often a stream on which nothing is written is looked at for having been reset.
const PROBE: Duration = Duration::from_millis(100);

impl Channel {
    /// Completes when the connection is gone.
    pub(crate) fn closed(&self) -> CancellationToken {
        self.closed.clone()
    }

    /// Waits for `work`, unless the other side does not want what is written here any more.
    ///
    /// # Errors
    /// That of the stream. Some implementations do not tell when they drop a stream: then it shows when it is written to.
    pub(crate) async fn unless_broken<T>(&mut self, work: impl Future<Output = T>) -> io::Result<T> {
        tokio::select! {
            biased;
            done = work => Ok(done),
            error = self.broken() => Err(error),
        }
    }

    async fn broken(&mut self) -> io::Error {
        loop {
            tokio::time::sleep(PROBE).await;
            // Writes nothing. Transports have no other word for it.
            if let Some(Err(error)) = self.stream.write(&[]).now_or_never() {
                return error;
            }
        }
    }
}

impl AsyncRead for Channel {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if let Poll::Ready(Ok(count)) = &read {
            self.traffic.received.fetch_add(*count as u64, Ordering::Relaxed);
        }
        read
    }
}

impl AsyncWrite for Channel {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        if let Poll::Ready(Ok(count)) = &written {
            self.traffic.sent.fetch_add(*count as u64, Ordering::Relaxed);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}

/// A stream that a peer has opened.
#[derive(Debug)]
pub(crate) struct Inbound {
    pub(crate) peer: PeerId,
    pub(crate) method: Method,
    pub(crate) channel: Channel,
}

/// Why a stream was not opened.
#[derive(Debug)]
pub(crate) enum OpenError {
    NotConnected,
    Unsupported,
    Timeout,
    Io(io::Error),
    Stopped,
}

type OpenReply = oneshot::Sender<Result<Channel, OpenError>>;

/// A request to open a stream, on its way to a connection.
#[derive(Debug)]
struct Open {
    peer: PeerId,
    method: Method,
    reply: OpenReply,
}

/// Opens streams; clones share one queue.
#[derive(Clone, Debug)]
pub(crate) struct Control {
    opens: mpsc::Sender<Open>,
}

impl Control {
    /// Opens a stream on a connection that exists; never dials. Cancel-safe: a stream that nobody waits for is reset.
    pub(crate) async fn open(&self, peer: PeerId, method: Method) -> Result<Channel, OpenError> {
        let (reply, opened) = oneshot::channel();
        self.opens.send(Open { peer, method, reply }).await.map_err(|_| OpenError::Stopped)?;
        // The reply is dropped together with the connection that was to give it.
        opened.await.unwrap_or(Err(OpenError::NotConnected))
    }
}
