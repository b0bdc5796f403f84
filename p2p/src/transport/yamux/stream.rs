//! One stream: what has come, what is to be sent, and how both directions end. Pure.

use std::{
    collections::VecDeque,
    io::{self, ErrorKind},
    task::{Poll, Waker},
};

use super::{
    frame::{Flags, HEADER, Header, Violation},
    received::Received,
    window::{LARGEST, ReceiveWindow, SendWindow},
};

/// Bytes of a data frame's body: a sidecar's chunk goes out in four frames, and a frame fits into one noise message.
pub(super) const FRAME_BODY: usize = 33 * 1024;

/// Bytes that wait to be sent on one stream before its writer waits.
pub(super) const QUEUED: usize = 4 * FRAME_BODY;

/// Frames that wait to be sent, however short they are.
pub(super) const QUEUED_FRAMES: usize = 16;

/// Which side opened a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opener {
    This,
    Other,
}

/// How far the other side is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Incoming {
    Open,
    /// Ended in order.
    Ended,
    /// Broken off: by a reset, or since the connection is lost.
    Broken,
}

/// How far this side is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outgoing {
    Open,
    /// To be ended behind what waits.
    Closing,
    Closed,
    /// The other side takes nothing any more.
    Refused,
}

/// A stream, from its opening until its handle is dropped and nothing of it is left to be sent.
#[derive(Debug)]
pub(super) struct Stream {
    id: u32,
    opener: Opener,
    /// What the first frame says beside its own: that the stream is opened, or taken.
    greeting: Flags,
    received: Received,
    receive_window: ReceiveWindow,
    incoming: Incoming,
    reader: Option<Waker>,
    /// Frames with room for their headers, which are written when the frames go.
    queue: VecDeque<Vec<u8>>,
    /// Bytes of their bodies.
    queued: usize,
    /// The last of them is as it is to go: the writer has flushed.
    is_sealed: bool,
    send_window: SendWindow,
    outgoing: Outgoing,
    writer: Option<Waker>,
    /// Bytes that the other side is to be told that it may send.
    update: u32,
    /// To be broken off behind everything else.
    reset: bool,
    /// The handle is gone.
    dropped: bool,
}

impl Stream {
    pub(super) fn new(id: u32, opener: Opener, receive_window: ReceiveWindow) -> Self {
        let greeting = match opener {
            Opener::This => Flags::SYN,
            Opener::Other => Flags::ACK,
        };
        Self {
            id,
            opener,
            greeting,
            received: Received::default(),
            receive_window,
            incoming: Incoming::Open,
            reader: None,
            queue: VecDeque::new(),
            queued: 0,
            is_sealed: false,
            send_window: SendWindow::new(),
            outgoing: Outgoing::Open,
            writer: None,
            update: 0,
            reset: false,
            dropped: false,
        }
    }

    /// A body of `bytes` begins to come. Returns whether it is to be kept.
    pub(super) fn receive(&mut self, bytes: u32) -> Result<bool, Violation> {
        let stream = self.id;
        let allowed = match self.incoming {
            // What comes behind a reset is not counted.
            Incoming::Broken => bytes <= LARGEST,
            Incoming::Ended if bytes > 0 => return Err(Violation::BehindEnd(stream)),
            Incoming::Ended | Incoming::Open => self.receive_window.receive(bytes),
        };
        if !allowed {
            return Err(Violation::BeyondWindow { stream, bytes });
        }
        Ok(!self.dropped && self.incoming == Incoming::Open)
    }

    /// Where bytes that have come are put. Whoever puts some in wakes the reader.
    pub(super) fn received(&mut self) -> Option<&mut Received> {
        (!self.dropped && self.incoming == Incoming::Open).then_some(&mut self.received)
    }

    /// The reader, if it waits.
    pub(super) fn reader(&mut self) -> Option<Waker> {
        self.reader.take()
    }

    pub(super) fn add_credit(&mut self, bytes: u32) -> Result<Option<Waker>, Violation> {
        self.send_window.add(bytes, self.id)?;
        Ok(self.writer.take())
    }

    /// The other side has ended its half.
    pub(super) fn ended(&mut self) -> Option<Waker> {
        if self.incoming == Incoming::Open {
            self.incoming = Incoming::Ended;
        }
        self.reader.take()
    }

    /// The other side has broken the stream off. A request that it has ended before is withdrawn by that: nobody waits for
    /// the answer. An answer that it has ended before is whole.
    pub(super) fn reset_by_other(&mut self) -> [Option<Waker>; 2] {
        if self.opener == Opener::Other {
            self.incoming = Incoming::Broken;
        }
        self.broken()
    }

    /// The other side has broken the stream off, or is gone. What has come before can be read.
    pub(super) fn broken(&mut self) -> [Option<Waker>; 2] {
        if self.incoming == Incoming::Open {
            self.incoming = Incoming::Broken;
        }
        self.outgoing = Outgoing::Refused;
        self.forget_output();
        [self.reader.take(), self.writer.take()]
    }

    /// The other side can be heard no more, what waits to be sent may still go.
    pub(super) fn deafened(&mut self) -> [Option<Waker>; 2] {
        if self.incoming == Incoming::Open {
            self.incoming = Incoming::Broken;
        }
        if self.outgoing == Outgoing::Open {
            self.outgoing = Outgoing::Refused;
        }
        [self.reader.take(), self.writer.take()]
    }

    /// The next bytes, or `None` at the end. `read` bytes were read since the last call.
    pub(super) fn read(&mut self, read: u32, waker: &Waker) -> Poll<io::Result<Option<Vec<u8>>>> {
        if read > 0 && self.incoming == Incoming::Open {
            self.update += self.receive_window.consume(read);
        }
        if let Some(chunk) = self.received.pop() {
            return Poll::Ready(Ok(Some(chunk)));
        }
        match self.incoming {
            Incoming::Ended => Poll::Ready(Ok(None)),
            Incoming::Broken => Poll::Ready(Err(ErrorKind::ConnectionReset.into())),
            Incoming::Open => {
                self.reader = Some(waker.clone());
                Poll::Pending
            }
        }
    }

    /// Takes as many of `bytes` as there is room and credit for.
    pub(super) fn write(&mut self, bytes: &[u8], waker: &Waker) -> Poll<io::Result<usize>> {
        match self.outgoing {
            Outgoing::Open => {}
            Outgoing::Closing | Outgoing::Closed => return Poll::Ready(Err(ErrorKind::BrokenPipe.into())),
            Outgoing::Refused => return Poll::Ready(Err(ErrorKind::ConnectionReset.into())),
        }
        // Who writes nothing asks whether the stream is still wanted.
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let room = if self.queue.len() < QUEUED_FRAMES { QUEUED.saturating_sub(self.queued) } else { 0 };
        let room = room.min(bytes.len());
        let taken = self.send_window.take(room);
        if taken == 0 {
            self.writer = Some(waker.clone());
            return Poll::Pending;
        }
        self.enqueue(bytes.get(..taken).unwrap_or_default());
        Poll::Ready(Ok(taken))
    }

    /// What is written from here on gets a frame of its own: readers are known that take what comes together for one
    /// message, although a stream is bytes and nothing else.
    pub(super) const fn flush(&mut self) {
        self.is_sealed = true;
    }

    fn enqueue(&mut self, mut bytes: &[u8]) {
        self.queued += bytes.len();
        if let Some(last) = self.queue.back_mut().filter(|_| !self.is_sealed) {
            let room = (HEADER + FRAME_BODY).saturating_sub(last.len()).min(bytes.len());
            let (now, rest) = bytes.split_at(room);
            last.extend_from_slice(now);
            bytes = rest;
        }
        for body in bytes.chunks(FRAME_BODY) {
            let mut frame = Vec::with_capacity(HEADER + body.len());
            frame.extend_from_slice(&[0; HEADER]);
            frame.extend_from_slice(body);
            self.queue.push_back(frame);
        }
        self.is_sealed = false;
    }

    /// Ends this side's half behind what was written.
    pub(super) fn close(&mut self) -> io::Result<()> {
        match self.outgoing {
            Outgoing::Open => self.outgoing = Outgoing::Closing,
            Outgoing::Closing | Outgoing::Closed => {}
            Outgoing::Refused => return Err(ErrorKind::ConnectionReset.into()),
        }
        Ok(())
    }

    /// The handle is gone. Where this side opened the stream, the other side is told unless both halves have ended:
    /// it may be waiting for credit. Behind the end of an answer nothing is said: some implementations forget what they
    /// have received and not read when a reset comes. A request that was not ended is none, so its rest is not sent.
    pub(super) fn release(&mut self) {
        self.dropped = true;
        self.received.clear();
        self.update = 0;
        (self.reader, self.writer) = (None, None);
        self.receive_window.give_back();
        match (self.outgoing, self.opener) {
            (Outgoing::Open, Opener::This) => {
                self.forget_output();
                self.outgoing = Outgoing::Refused;
                self.reset = !self.greeting.has(Flags::SYN);
            }
            (Outgoing::Open, Opener::Other) => self.reset = true,
            (Outgoing::Closing | Outgoing::Closed, Opener::This) => self.reset = self.incoming == Incoming::Open,
            (Outgoing::Closing | Outgoing::Closed, Opener::Other) | (Outgoing::Refused, _) => {}
        }
    }

    fn forget_output(&mut self) {
        self.queue = VecDeque::new();
        self.queued = 0;
        self.update = 0;
        self.reset = false;
    }

    /// Bytes that are allocated for what waits, in both directions.
    #[cfg(test)]
    pub(super) fn allocated(&self) -> usize {
        self.received.allocated() + self.queue.iter().map(Vec::capacity).sum::<usize>()
    }

    pub(super) fn has_output(&self) -> bool {
        !self.queue.is_empty() || self.outgoing == Outgoing::Closing || self.reset
    }

    pub(super) const fn has_update(&self) -> bool {
        self.update > 0
    }

    /// The handle is gone and nothing is left to be sent.
    pub(super) fn is_over(&self) -> bool {
        self.dropped && !self.has_output()
    }

    /// The window update that is to be sent.
    pub(super) fn next_update(&mut self) -> Option<Header> {
        let bytes = std::mem::take(&mut self.update);
        (bytes > 0).then(|| Header::window_update(self.id, std::mem::take(&mut self.greeting), bytes))
    }

    /// The next frame to be sent, and the writer if it may go on.
    pub(super) fn next_frame(&mut self) -> Option<(Vec<u8>, Option<Waker>)> {
        if let Some(mut frame) = self.queue.pop_front() {
            let body = frame.len().saturating_sub(HEADER);
            self.queued = self.queued.saturating_sub(body);
            let flags = std::mem::take(&mut self.greeting);
            let header = Header::data(self.id, flags, u32::try_from(body).unwrap_or(u32::MAX)).encode();
            frame.iter_mut().zip(header).for_each(|(place, byte)| *place = byte);
            // Not for each frame, so that a writer comes with several.
            let is_half_empty = self.queued <= QUEUED / 2 && self.queue.len() <= QUEUED_FRAMES / 2;
            let writer = if is_half_empty { self.writer.take() } else { None };
            return Some((frame, writer));
        }
        if self.outgoing == Outgoing::Closing {
            self.outgoing = Outgoing::Closed;
            let flags = std::mem::take(&mut self.greeting).with(Flags::FIN);
            return Some((Header::data(self.id, flags, 0).encode().to_vec(), None));
        }
        if self.reset {
            self.reset = false;
            return Some((Header::reset(self.id).encode().to_vec(), None));
        }
        None
    }
}
