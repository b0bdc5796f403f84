//! Which yamux streams the other side has ended, read from the frame headers as they pass by.
//!
//! A yamux frame is a header of 12 bytes (version, type, flags and stream id, length; big endian), followed, in data
//! frames (type 0), by as many bytes as the length says.

use std::{
    collections::HashMap,
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use futures::{AsyncRead, AsyncWrite};

const HEADER: usize = 12;
const DATA: u8 = 0;
const FIN: u16 = 4;

/// The streams that are watched, each with whether it was ended in order.
#[derive(Clone, Debug, Default)]
pub(super) struct Ends(Arc<Mutex<HashMap<u32, bool>>>);

impl Ends {
    fn streams(&self) -> MutexGuard<'_, HashMap<u32, bool>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn watch(&self, stream: u32) {
        self.streams().insert(stream, false);
    }

    pub(super) fn forget(&self, stream: u32) {
        self.streams().remove(&stream);
    }

    pub(super) fn has_ended(&self, stream: u32) -> bool {
        self.streams().get(&stream).copied().unwrap_or(false)
    }

    fn end(&self, stream: u32) {
        if let Some(ended) = self.streams().get_mut(&stream) {
            *ended = true;
        }
    }
}

/// Follows the frames of a byte stream.
#[derive(Debug, Default)]
struct Frames {
    header: [u8; HEADER],
    /// Bytes of the header that have come.
    filled: usize,
    /// Bytes of the body that have not come.
    body: usize,
}

impl Frames {
    /// Takes the next bytes; calls `on_fin` with the stream of each frame that ends one.
    fn push(&mut self, mut bytes: &[u8], mut on_fin: impl FnMut(u32)) {
        while !bytes.is_empty() {
            let skipped = self.body.min(bytes.len());
            self.body -= skipped;
            bytes = bytes.get(skipped..).unwrap_or_default();
            if self.body > 0 {
                return;
            }
            let Some(space) = self.header.get_mut(self.filled..) else { return };
            let taken = space.len().min(bytes.len());
            let (head, rest) = bytes.split_at(taken);
            for (place, byte) in space.iter_mut().zip(head) {
                *place = *byte;
            }
            self.filled += taken;
            bytes = rest;
            if self.filled == HEADER {
                self.complete(&mut on_fin);
            }
        }
    }

    fn complete(&mut self, on_fin: &mut impl FnMut(u32)) {
        let [_, kind, flags_high, flags_low, s0, s1, s2, s3, l0, l1, l2, l3] = self.header;
        self.filled = 0;
        if kind == DATA {
            self.body = u32::from_be_bytes([l0, l1, l2, l3]) as usize;
        }
        if u16::from_be_bytes([flags_high, flags_low]) & FIN != 0 {
            on_fin(u32::from_be_bytes([s0, s1, s2, s3]));
        }
    }
}

/// A socket whose incoming frames are followed.
#[derive(Debug)]
pub(super) struct Observed<C> {
    socket: C,
    frames: Frames,
    ends: Ends,
}

impl<C> Observed<C> {
    pub(super) fn new(socket: C, ends: Ends) -> Self {
        Self { socket, frames: Frames::default(), ends }
    }
}

impl<C: AsyncRead + Unpin> AsyncRead for Observed<C> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let count = ready!(Pin::new(&mut this.socket).poll_read(cx, buf))?;
        let ends = &this.ends;
        this.frames.push(buf.get(..count).unwrap_or_default(), |stream| ends.end(stream));
        Poll::Ready(Ok(count))
    }
}

impl<C: AsyncWrite + Unpin> AsyncWrite for Observed<C> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(cx, bufs)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_close(cx)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u16, stream: u32, length: u32, body: &[u8]) -> Vec<u8> {
        let mut out = vec![0, kind];
        out.extend(flags.to_be_bytes());
        out.extend(stream.to_be_bytes());
        out.extend(length.to_be_bytes());
        out.extend(body);
        out
    }

    #[test]
    fn fin_is_seen_at_every_split_and_bodies_are_skipped() {
        let mut bytes = frame(DATA, 0, 1, 24, &frame(1, FIN, 9, 0, &[0; 12]));
        bytes.extend(frame(1, FIN, 3, 4096, &[]));
        bytes.extend(frame(DATA, FIN, 5, 2, &[0xff, 0xff]));
        bytes.extend(frame(1, 8, 7, 0, &[]));
        for piece in 1..bytes.len() {
            let (mut frames, mut ended) = (Frames::default(), Vec::new());
            for chunk in bytes.chunks(piece) {
                frames.push(chunk, |stream| ended.push(stream));
            }
            assert_eq!(ended, [3, 5], "pieces of {piece}");
        }
    }

    #[test]
    fn only_watched_streams_are_remembered() {
        let ends = Ends::default();
        ends.watch(1);
        ends.end(1);
        ends.end(3);
        assert!(ends.has_ended(1) && !ends.has_ended(3));
        assert_eq!(ends.streams().len(), 1);
        ends.forget(1);
        assert!(ends.streams().is_empty());
    }
}
