//! How yamux streams end, read from and written into the frames as they pass by.
//!
//! A yamux frame is a header of 12 bytes (version, type, flags and stream id, length; big endian), followed, in data
//! frames (type 0), by as many bytes as the length says.
//!
//! The yamux library has three gaps that this fills. It reads a stream that was reset, or whose connection is lost, as
//! if it had ended. It ends a stream in order that is dropped before it was closed, if the other side has closed its
//! half. And it says nothing at all when a stream is dropped that was closed on this side only, so that the other side,
//! out of credit, waits for ever: this is how a client gives up, so it is filled for streams that this side opened.

use std::{
    collections::{HashMap, VecDeque},
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use futures::{AsyncRead, AsyncWrite};

const HEADER: usize = 12;
const DATA: u8 = 0;
const FIN: u16 = 4;
const RESET: u16 = 8;

/// Resets that wait for the socket; by far more than there are streams.
const WAITING_RESETS: usize = 4096;

/// What is known of one stream.
#[derive(Clone, Copy, Debug, Default)]
struct End {
    /// The other side has ended it in order.
    ended: bool,
    /// The other side has reset it.
    reset: bool,
    /// This side's end has passed the socket.
    closed: bool,
    /// This side has dropped the stream after it closed its half: to be reset once `closed`.
    abandoned: bool,
}

/// The streams of one connection that are in use, and the resets that are to be sent.
#[derive(Clone, Debug, Default)]
pub(super) struct Ends(Arc<Mutex<Streams>>);

#[derive(Debug, Default)]
struct Streams {
    ends: HashMap<u32, End>,
    resets: VecDeque<u32>,
}

impl Ends {
    fn streams(&self) -> MutexGuard<'_, Streams> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn watch(&self, stream: u32) {
        self.streams().ends.insert(stream, End::default());
    }

    /// The stream is over on both sides.
    pub(super) fn forget(&self, stream: u32) {
        self.streams().ends.remove(&stream);
    }

    /// The stream is dropped before this side has closed its half.
    pub(super) fn reset(&self, stream: u32) {
        let mut streams = self.streams();
        streams.ends.remove(&stream);
        streams.queue(stream);
    }

    /// The stream is dropped, closed on this side only. The reset must not overtake this side's end.
    pub(super) fn abandon(&self, stream: u32) {
        let mut streams = self.streams();
        let Some(end) = streams.ends.get_mut(&stream) else { return };
        end.abandoned = true;
        if end.closed {
            streams.ends.remove(&stream);
            streams.queue(stream);
        }
    }

    pub(super) fn has_ended(&self, stream: u32) -> bool {
        self.streams().ends.get(&stream).is_some_and(|end| end.ended)
    }

    pub(super) fn is_reset(&self, stream: u32) -> bool {
        self.streams().ends.get(&stream).is_some_and(|end| end.reset)
    }

    /// A frame with `flags` has come.
    fn received(&self, stream: u32, flags: u16) {
        if let Some(end) = self.streams().ends.get_mut(&stream) {
            end.reset |= flags & RESET != 0;
            end.ended |= flags & FIN != 0 && !end.reset;
        }
    }

    /// A frame with `flags` was sent.
    fn sent(&self, stream: u32, flags: u16) {
        let mut streams = self.streams();
        if flags & FIN == 0 {
            return;
        }
        if let Some(end) = streams.ends.get_mut(&stream) {
            end.closed = true;
            if end.abandoned {
                streams.ends.remove(&stream);
                streams.queue(stream);
            }
        }
    }

    fn next_reset(&self) -> Option<u32> {
        self.streams().resets.pop_front()
    }
}

impl Streams {
    fn queue(&mut self, stream: u32) {
        if self.resets.len() < WAITING_RESETS {
            self.resets.push_back(stream);
        }
    }
}

/// Follows the frames of a byte stream.
#[derive(Debug, Default)]
struct Frames {
    header: [u8; HEADER],
    /// Bytes of the header that have passed.
    filled: usize,
    /// Bytes of the body that have not passed.
    body: usize,
    /// Stream and flags of the frame whose body is passing: a body that breaks off is no end of its stream.
    flags: Option<(u32, u16)>,
}

impl Frames {
    /// Takes the next bytes; calls `on_flags` with stream and flags of each frame that has any, when all of it has passed.
    fn push(&mut self, mut bytes: &[u8], mut on_flags: impl FnMut(u32, u16)) {
        while !bytes.is_empty() {
            let skipped = self.body.min(bytes.len());
            self.body -= skipped;
            bytes = bytes.get(skipped..).unwrap_or_default();
            if self.body > 0 {
                return;
            }
            self.tell(&mut on_flags);
            let Some(space) = self.header.get_mut(self.filled..) else { return };
            let taken = space.len().min(bytes.len());
            let (head, rest) = bytes.split_at(taken);
            for (place, byte) in space.iter_mut().zip(head) {
                *place = *byte;
            }
            self.filled += taken;
            bytes = rest;
            if self.filled == HEADER {
                self.begin_body();
                if self.body == 0 {
                    self.tell(&mut on_flags);
                }
            }
        }
    }

    fn begin_body(&mut self) {
        let [_, kind, f0, f1, s0, s1, s2, s3, l0, l1, l2, l3] = self.header;
        self.filled = 0;
        if kind == DATA {
            self.body = u32::from_be_bytes([l0, l1, l2, l3]) as usize;
        }
        let flags = u16::from_be_bytes([f0, f1]);
        self.flags = (flags != 0).then_some((u32::from_be_bytes([s0, s1, s2, s3]), flags));
    }

    fn tell(&mut self, on_flags: &mut impl FnMut(u32, u16)) {
        if let Some((stream, flags)) = self.flags.take() {
            on_flags(stream, flags);
        }
    }

    /// Whether another frame may begin here.
    const fn is_between(&self) -> bool {
        self.filled == 0 && self.body == 0
    }
}

/// A data frame without data that resets `stream`.
fn reset_frame(stream: u32) -> [u8; HEADER] {
    let [f0, f1] = RESET.to_be_bytes();
    let [s0, s1, s2, s3] = stream.to_be_bytes();
    [0, DATA, f0, f1, s0, s1, s2, s3, 0, 0, 0, 0]
}

/// A socket whose frames are followed in both directions.
#[derive(Debug)]
pub(super) struct Observed<C> {
    socket: C,
    incoming: Frames,
    outgoing: Frames,
    /// A reset that is being written, and how much of it has been.
    injecting: Option<([u8; HEADER], usize)>,
    ends: Ends,
}

impl<C> Observed<C> {
    pub(super) fn new(socket: C, ends: Ends) -> Self {
        Self { socket, incoming: Frames::default(), outgoing: Frames::default(), injecting: None, ends }
    }
}

impl<C: AsyncWrite + Unpin> Observed<C> {
    /// Writes the resets that wait, if a frame may begin here.
    fn poll_inject(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.outgoing.is_between() {
            return Poll::Ready(Ok(()));
        }
        loop {
            if self.injecting.is_none() {
                self.injecting = self.ends.next_reset().map(|stream| (reset_frame(stream), 0));
            }
            let Some((frame, done)) = &mut self.injecting else { return Poll::Ready(Ok(())) };
            let rest = frame.get(*done..).unwrap_or_default();
            let count = ready!(Pin::new(&mut self.socket).poll_write(cx, rest))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            *done += count;
            if *done >= HEADER {
                self.injecting = None;
            }
        }
    }
}

impl<C: AsyncRead + Unpin> AsyncRead for Observed<C> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let count = ready!(Pin::new(&mut this.socket).poll_read(cx, buf))?;
        let ends = &this.ends;
        this.incoming.push(buf.get(..count).unwrap_or_default(), |stream, flags| ends.received(stream, flags));
        Poll::Ready(Ok(count))
    }
}

impl<C: AsyncWrite + Unpin> AsyncWrite for Observed<C> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        ready!(this.poll_inject(cx))?;
        let count = ready!(Pin::new(&mut this.socket).poll_write(cx, buf))?;
        let ends = &this.ends;
        this.outgoing.push(buf.get(..count).unwrap_or_default(), |stream, flags| ends.sent(stream, flags));
        Poll::Ready(Ok(count))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_inject(cx))?;
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_close(cx)
    }
}

#[cfg(test)]
mod tests;
