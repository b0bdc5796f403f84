//! The lock that a connection and the handles of its streams share, and the handles. The lock is held for no IO and
//! never across a wait; wakers are called when it is released.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
};

use futures::{AsyncRead, AsyncWrite};

use super::streams::Streams;

/// The streams of a connection.
#[derive(Clone, Debug)]
pub(super) struct Shared(Arc<Mutex<Streams>>);

impl Shared {
    pub(super) fn new(streams: Streams) -> Self {
        Self(Arc::new(Mutex::new(streams)))
    }

    pub(super) fn with<T>(&self, act: impl FnOnce(&mut Streams) -> T) -> T {
        let (result, woken) = {
            let mut streams = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            (act(&mut streams), streams.take_woken())
        };
        for waker in woken {
            waker.wake();
        }
        result
    }
}

/// One stream. What it holds is told in [`super`].
#[derive(Debug)]
pub(in crate::transport) struct Substream {
    id: u32,
    streams: Shared,
    /// Taken out of the stream's buffer: what is read next.
    chunk: Vec<u8>,
    /// How much of it was read. It is told when all of it was.
    read: usize,
}

impl Substream {
    pub(super) const fn new(id: u32, streams: Shared) -> Self {
        Self { id, streams, chunk: Vec::new(), read: 0 }
    }
}

impl Drop for Substream {
    fn drop(&mut self) {
        self.streams.with(|streams| streams.release(self.id));
    }
}

impl AsyncRead for Substream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        if this.read == this.chunk.len() {
            let read = u32::try_from(std::mem::take(&mut this.read)).unwrap_or(u32::MAX);
            this.chunk = Vec::new();
            match ready!(this.streams.with(|streams| streams.read(this.id, read, cx.waker())))? {
                Some(chunk) => this.chunk = chunk,
                None => return Poll::Ready(Ok(0)),
            }
        }
        let rest = this.chunk.get(this.read..).unwrap_or_default();
        let count = rest.len().min(buf.len());
        let (to, from) = (buf.get_mut(..count).unwrap_or_default(), rest.get(..count).unwrap_or_default());
        to.copy_from_slice(from);
        this.read += count;
        Poll::Ready(Ok(count))
    }
}

impl AsyncWrite for Substream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.streams.with(|streams| streams.write(self.id, buf, cx.waker()))
    }

    /// What was written is sent as soon as the socket takes it, in frames of its own.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.streams.with(|streams| streams.flush(self.id));
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.streams.with(|streams| streams.close(self.id)))
    }
}
