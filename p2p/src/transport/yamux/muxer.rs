//! The loop that moves frames between a socket and the streams. It owns the socket, the frame that is being read and the
//! one that is being written, and decides nothing.

use std::{
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures::{AsyncRead, AsyncWrite};
use libp2p::core::muxing::{StreamMuxer, StreamMuxerEvent};
use tokio::time::Sleep;

use super::{
    frame::{Farewell, HEADER, Header, Violation},
    shared::{Shared, Substream},
    streams::{Body, Rest, Streams},
};

/// Frames, or parts of such, that are read and written before other tasks have their turn.
const STEPS: usize = 64;

/// Bytes that are written before the socket is flushed, at least, if more wait: a full frame makes a noise message of its
/// own, short ones share one. Encryption keeps buffers of the size of its largest message.
const UNFLUSHED: usize = 16 * 1024;

/// Bytes that are read at once, at most.
const PIECE: usize = 64 * 1024;

/// One connection. What it holds is told in [`super`].
#[derive(Debug)]
pub(in crate::transport) struct Muxer<C> {
    socket: C,
    streams: Shared,
    reading: Reading,
    writing: Writing,
    /// How long closing may take.
    closing: Duration,
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    Open,
    /// The last frames are being written, until the time is up.
    Ending {
        until: Pin<Box<Sleep>>,
        because: Option<Violation>,
    },
    Over,
}

/// The frame that is being read.
#[derive(Debug, Default)]
struct Reading {
    header: [u8; HEADER],
    /// Bytes of the header that have come.
    have: usize,
    body: Option<Body>,
    /// Bytes of the body that have come and are not yet their stream's, `filled` of them.
    piece: Vec<u8>,
    filled: usize,
}

/// The frame that is being written.
#[derive(Debug, Default)]
struct Writing {
    frame: Vec<u8>,
    /// How much of it was.
    written: usize,
    /// Bytes that were written since the socket was flushed.
    unflushed: usize,
}

/// What came of a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Done,
    /// There is nothing to do.
    Idle,
    /// The socket is to be waited for.
    Blocked,
}

/// Why a connection ends.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Socket(#[from] io::Error),
    #[error(transparent)]
    Violation(#[from] Violation),
}

impl<C: AsyncRead + AsyncWrite + Unpin> Muxer<C> {
    /// Closing waits for `closing` at most.
    pub(super) fn new(socket: C, streams: Streams, closing: Duration) -> Self {
        Self {
            socket,
            streams: Shared::new(streams),
            reading: Reading::default(),
            writing: Writing::default(),
            closing,
            phase: Phase::Open,
        }
    }

    /// Streams that there are, and bytes that are allocated for them and for frames under way.
    #[cfg(test)]
    pub(super) fn held(&self) -> (usize, usize) {
        let own = self.reading.piece.capacity() + self.writing.frame.capacity();
        let (count, bytes) = self.streams.with(|streams| streams.held());
        (count, bytes + own)
    }

    /// Moves frames, until the socket is waited for; ends with the reason why the connection does.
    fn poll_frames(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        if let Phase::Open = self.phase {
            match self.move_frames(cx) {
                Ok(()) => return Poll::Pending,
                Err(Failure::Socket(error)) => {
                    self.streams.with(|streams| streams.abort(None));
                    self.phase = Phase::Over;
                    return Poll::Ready(error);
                }
                Err(Failure::Violation(violation)) => {
                    tracing::debug!(%violation, "connection closed");
                    self.streams.with(|streams| streams.abort(Some(Farewell::ProtocolError)));
                    self.end(Some(violation));
                }
            }
        }
        match ready!(self.poll_ending(cx)) {
            Ok(()) => Poll::Ready(io::ErrorKind::ConnectionAborted.into()),
            Err(error) => Poll::Ready(error),
        }
    }

    fn move_frames(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.streams.with(Streams::awake);
        for _ in 0..STEPS {
            let sent = self.send(cx)?;
            let received = self.receive(cx)?;
            if sent == Step::Done || received == Step::Done {
                continue;
            }
            match (self.streams.with(|streams| streams.sleep(cx.waker())), sent) {
                (Rest::Over, _) => return Err(io::Error::from(io::ErrorKind::ConnectionAborted).into()),
                (Rest::Work, Step::Done | Step::Idle) => {}
                (Rest::Work, Step::Blocked) | (Rest::Sleep, _) => return Ok(()),
            }
        }
        cx.waker().wake_by_ref();
        Ok(())
    }

    /// Writes a part of a frame, or flushes when there is none.
    fn send(&mut self, cx: &mut Context<'_>) -> io::Result<Step> {
        if self.writing.written == self.writing.frame.len() {
            if self.writing.unflushed >= UNFLUSHED && self.flush(cx)? == Step::Blocked {
                return Ok(Step::Blocked);
            }
            match self.streams.with(Streams::next_frame) {
                Some(next) => (self.writing.frame, self.writing.written) = (next, 0),
                None => return self.flush(cx),
            }
        }
        let Writing { frame, written, unflushed } = &mut self.writing;
        let rest = frame.get(*written..).unwrap_or_default();
        match Pin::new(&mut self.socket).poll_write(cx, rest)? {
            Poll::Pending => Ok(Step::Blocked),
            Poll::Ready(0) => Err(io::ErrorKind::WriteZero.into()),
            Poll::Ready(count) => {
                *written += count;
                *unflushed += count;
                Ok(Step::Done)
            }
        }
    }

    fn flush(&mut self, cx: &mut Context<'_>) -> io::Result<Step> {
        if self.writing.unflushed > 0 {
            if Pin::new(&mut self.socket).poll_flush(cx)?.is_pending() {
                return Ok(Step::Blocked);
            }
            self.writing = Writing::default();
        }
        Ok(Step::Idle)
    }

    /// Reads a part of a frame.
    fn receive(&mut self, cx: &mut Context<'_>) -> Result<Step, Failure> {
        let Some(body) = self.reading.body else { return self.receive_header(cx) };
        let place = self.reading.place(body);
        match Pin::new(&mut self.socket).poll_read(cx, place)? {
            Poll::Pending => {
                self.reading.deliver(body, &self.streams);
                Ok(Step::Blocked)
            }
            Poll::Ready(0) => Err(Failure::Socket(io::ErrorKind::UnexpectedEof.into())),
            Poll::Ready(count) => {
                self.reading.advance(body, count, &self.streams);
                Ok(Step::Done)
            }
        }
    }

    fn receive_header(&mut self, cx: &mut Context<'_>) -> Result<Step, Failure> {
        let Reading { header, have, .. } = &mut self.reading;
        let place = header.get_mut(*have..).unwrap_or_default();
        match Pin::new(&mut self.socket).poll_read(cx, place)? {
            Poll::Pending => return Ok(Step::Blocked),
            Poll::Ready(0) => return Err(Failure::Socket(io::ErrorKind::UnexpectedEof.into())),
            Poll::Ready(count) => *have += count,
        }
        if *have == HEADER {
            *have = 0;
            let header = Header::decode(*header)?;
            let body = self.streams.with(|streams| streams.on_header(header))?;
            self.reading.begin(body, &self.streams);
        }
        Ok(Step::Done)
    }

    /// Begins to end. What waits to be sent is, as long as there is time.
    fn end(&mut self, because: Option<Violation>) {
        self.phase = Phase::Ending { until: Box::pin(tokio::time::sleep(self.closing)), because };
    }

    fn poll_ending(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let written = self.poll_last_frames(cx);
        let Phase::Ending { until, because } = &mut self.phase else { return Poll::Ready(Ok(())) };
        let ended = match written {
            Poll::Ready(ended) => ended,
            Poll::Pending => {
                ready!(until.as_mut().poll(cx));
                Err(io::ErrorKind::TimedOut.into())
            }
        };
        let because = because.take();
        self.phase = Phase::Over;
        self.streams.with(|streams| streams.abort(None));
        Poll::Ready(because.map_or(ended, |violation| Err(io::Error::new(io::ErrorKind::InvalidData, violation))))
    }

    fn poll_last_frames(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Phase::Over = self.phase {
            return Poll::Ready(Ok(()));
        }
        for _ in 0..STEPS {
            match self.send(cx)? {
                Step::Done => {}
                Step::Blocked => return Poll::Pending,
                Step::Idle => return Pin::new(&mut self.socket).poll_close(cx),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Reading {
    fn begin(&mut self, body: Body, streams: &Shared) {
        self.body = Some(body);
        self.advance(body, 0, streams);
    }

    /// Where the next bytes of the body go.
    fn place(&mut self, body: Body) -> &mut [u8] {
        let left = usize::try_from(body.left).unwrap_or(usize::MAX);
        if self.filled == 0 && self.piece.len() < left.min(PIECE) {
            self.piece.resize(left.min(PIECE), 0);
        }
        let end = self.filled.saturating_add(left).min(self.piece.len());
        self.piece.get_mut(self.filled..end).unwrap_or_default()
    }

    /// `count` bytes have come.
    fn advance(&mut self, mut body: Body, count: usize, streams: &Shared) {
        body.left = body.left.saturating_sub(u32::try_from(count).unwrap_or(u32::MAX));
        self.filled += count;
        if body.left == 0 || self.filled == self.piece.len() {
            self.deliver(body, streams);
        }
        self.body = Some(body);
        if body.left == 0 {
            self.body = None;
            streams.with(|streams| streams.on_body_end(body));
        }
    }

    /// Hands over what has come: the piece itself if it is full, or else a copy of it, so that nobody holds much more
    /// than has come.
    fn deliver(&mut self, body: Body, streams: &Shared) {
        let filled = std::mem::take(&mut self.filled);
        let Some(stream) = body.stream.filter(|_| filled > 0) else { return };
        if filled >= PIECE / 16 && filled >= self.piece.len() - self.piece.len() / 8 {
            let mut piece = std::mem::take(&mut self.piece);
            piece.truncate(filled);
            streams.with(|streams| streams.on_bytes(stream, |received| received.push(piece)));
        } else {
            let bytes = self.piece.get(..filled).unwrap_or_default();
            streams.with(|streams| streams.on_bytes(stream, |received| received.append(bytes)));
        }
    }
}

impl<C> Drop for Muxer<C> {
    fn drop(&mut self) {
        self.streams.with(|streams| streams.abort(None));
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> StreamMuxer for Muxer<C> {
    type Substream = Substream;
    type Error = io::Error;

    fn poll_inbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<Substream>> {
        let this = &mut *self;
        let mut taken = this.streams.with(Streams::take);
        if taken.is_none() {
            let ended = this.poll_frames(cx);
            taken = this.streams.with(Streams::take);
            if let (Poll::Ready(error), None) = (ended, taken) {
                return Poll::Ready(Err(error));
            }
        }
        match taken {
            Some(id) => Poll::Ready(Ok(Substream::new(id, this.streams.clone()))),
            None => Poll::Pending,
        }
    }

    fn poll_outbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<Substream>> {
        let this = &mut *self;
        if let Phase::Open = this.phase {
            let id = ready!(this.streams.with(|streams| streams.open(cx.waker()))).map_err(io::Error::other)?;
            return Poll::Ready(Ok(Substream::new(id, this.streams.clone())));
        }
        this.poll_frames(cx).map(Err)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if let Phase::Open = this.phase {
            this.streams.with(Streams::leave);
            this.end(None);
        }
        this.poll_ending(cx)
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<StreamMuxerEvent>> {
        self.poll_frames(cx).map(Err)
    }
}
