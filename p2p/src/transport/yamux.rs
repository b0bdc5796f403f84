//! yamux with bounded memory, whose streams tell an end from a break.
//!
//! libp2p's own wrapper lets a connection's receive windows grow to 1 GiB, and passes on the library's habit of taking
//! breaks for ends (see [`super::end`]). Neither will do: memory is bounded, a stream that broke must not be taken for
//! the end of a response, and who drops a stream wants the other side to know.

use std::{
    collections::VecDeque,
    future::{Future, Ready, ready},
    io, iter,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures::{AsyncRead, AsyncWrite};
use libp2p::core::{
    muxing::{StreamMuxer, StreamMuxerEvent},
    upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade, UpgradeInfo},
};
use tokio::time::Sleep;
use yamux::{Connection, ConnectionError, Mode};

use super::end::{Ends, Observed};

/// Streams that wait until the swarm takes them; more are reset. As in libp2p's wrapper.
const WAITING_STREAMS: usize = 256;

/// Bytes that every stream may have received and not yet read, as the yamux specification has it.
const STREAM_WINDOW: usize = yamux::DEFAULT_CREDIT as usize;

/// Bytes of a data frame's body: a sidecar's chunk goes out in four frames instead of nine, each of which costs both ends
/// a system call and an encryption, and a frame still fits into one noise message. A stream queues eleven frames at most.
const FRAME_BODY: usize = 33 * 1024;

/// The upgrade of a connection.
#[derive(Clone, Debug)]
pub(super) struct Config {
    yamux: yamux::Config,
    closing: Duration,
}

impl Config {
    /// At most `streams` at a time, which together hold at most `receive_window` bytes beyond 256 KiB each. A peer that
    /// does not read has `closing` to take the last frames.
    pub(super) fn new(streams: u32, receive_window: u32, closing: Duration) -> Self {
        let streams = streams as usize;
        let mut yamux = yamux::Config::default();
        yamux.set_split_send_size(FRAME_BODY);
        // In this order, and at least this much: the library asserts that the total suffices for all streams.
        yamux.set_max_connection_receive_window(None);
        yamux.set_max_num_streams(streams);
        let total = streams.saturating_mul(STREAM_WINDOW).saturating_add(receive_window as usize);
        yamux.set_max_connection_receive_window(Some(total));
        Self { yamux, closing }
    }

    fn muxer<C: AsyncRead + AsyncWrite + Unpin>(self, socket: C, mode: Mode) -> Muxer<C> {
        let ends = Ends::default();
        let connection = Connection::new(Observed::new(socket, ends.clone()), self.yamux, mode);
        Muxer { connection, ends, waiting: VecDeque::new(), closing: self.closing, closes: None }
    }
}

impl UpgradeInfo for Config {
    type Info = &'static str;
    type InfoIter = iter::Once<Self::Info>;

    fn protocol_info(&self) -> Self::InfoIter {
        iter::once("/yamux/1.0.0")
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> InboundConnectionUpgrade<C> for Config {
    type Output = Muxer<C>;
    type Error = io::Error;
    type Future = Ready<io::Result<Muxer<C>>>;

    fn upgrade_inbound(self, socket: C, _: Self::Info) -> Self::Future {
        ready(Ok(self.muxer(socket, Mode::Server)))
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> OutboundConnectionUpgrade<C> for Config {
    type Output = Muxer<C>;
    type Error = io::Error;
    type Future = Ready<io::Result<Muxer<C>>>;

    fn upgrade_outbound(self, socket: C, _: Self::Info) -> Self::Future {
        ready(Ok(self.muxer(socket, Mode::Client)))
    }
}

/// One connection.
#[derive(Debug)]
pub(super) struct Muxer<C> {
    connection: Connection<Observed<C>>,
    ends: Ends,
    /// Streams that came while the connection was driven for other reasons.
    waiting: VecDeque<yamux::Stream>,
    /// How long closing may take.
    closing: Duration,
    /// Closing has begun, and is given up then.
    closes: Option<Pin<Box<Sleep>>>,
}

impl<C: AsyncRead + AsyncWrite + Unpin> Muxer<C> {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<yamux::Stream>> {
        match ready!(self.connection.poll_next_inbound(cx)) {
            Some(stream) => Poll::Ready(stream.map_err(to_io)),
            None => Poll::Ready(Err(to_io(ConnectionError::Closed))),
        }
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> StreamMuxer for Muxer<C> {
    type Substream = Substream;
    type Error = io::Error;

    fn poll_inbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<Substream>> {
        let stream = match self.waiting.pop_front() {
            Some(stream) => stream,
            None => ready!(self.poll_next(cx))?,
        };
        Poll::Ready(Ok(Substream::new(stream, &self.ends, Opener::Other)))
    }

    fn poll_outbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<Substream>> {
        let stream = ready!(self.connection.poll_new_outbound(cx)).map_err(to_io)?;
        Poll::Ready(Ok(Substream::new(stream, &self.ends, Opener::This)))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Poll::Ready(closed) = self.connection.poll_close(cx) {
            return Poll::Ready(closed.map_err(to_io));
        }
        // The last frames wait for a peer to read, which it may never do.
        let closing = self.closing;
        ready!(self.closes.get_or_insert_with(|| Box::pin(tokio::time::sleep(closing))).as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<StreamMuxerEvent>> {
        let this = self.get_mut();
        let stream = ready!(this.poll_next(cx))?;
        if this.waiting.len() < WAITING_STREAMS {
            this.waiting.push_back(stream);
        } else {
            tracing::debug!("stream reset: {WAITING_STREAMS} wait to be taken");
        }
        // Once more, so that the swarm takes the stream and the connection goes on.
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// One stream.
#[derive(Debug)]
pub(super) struct Substream {
    stream: yamux::Stream,
    ends: Ends,
    opener: Opener,
}

/// Which side opened a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Opener {
    This,
    Other,
}

impl Substream {
    fn new(stream: yamux::Stream, ends: &Ends, opener: Opener) -> Self {
        ends.watch(stream.id().val());
        Self { stream, ends: ends.clone(), opener }
    }

    /// Whether the end that the library reports is the other side's doing. Only known for certain of streams that this
    /// side opened: the end of another may have come before the stream was taken. A request says how long it is.
    fn has_ended(&self) -> bool {
        let id = self.stream.id().val();
        match self.opener {
            Opener::This => self.ends.has_ended(id),
            Opener::Other => !self.ends.is_reset(id),
        }
    }
}

impl Drop for Substream {
    fn drop(&mut self) {
        let id = self.stream.id().val();
        // Asked in this order, because the other side may end or reset the stream between the two questions.
        if self.stream.is_write_closed() {
            match self.opener {
                Opener::This => self.ends.abandon(id),
                // What was written is an answer, and some implementations forget what they have received but not read
                // when a reset comes.
                Opener::Other => self.ends.forget(id),
            }
        } else if self.stream.is_closed() {
            self.ends.forget(id);
        } else {
            self.ends.reset(id);
        }
    }
}

impl AsyncRead for Substream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let count = ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        if count == 0 && !buf.is_empty() && !self.has_ended() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        Poll::Ready(Ok(count))
    }
}

impl AsyncWrite for Substream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        // The library would send a frame without data. Who writes nothing asks whether the stream is still wanted.
        if buf.is_empty() {
            let reset = self.ends.is_reset(self.stream.id().val());
            return Poll::Ready(if reset { Err(io::ErrorKind::ConnectionReset.into()) } else { Ok(0) });
        }
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}

fn to_io(error: ConnectionError) -> io::Error {
    match error {
        ConnectionError::Io(error) => error,
        other => io::Error::other(other),
    }
}

#[cfg(test)]
mod tests;
