//! The streams of one connection, as their handles and the connection see them. Pure: frames come in as headers and
//! bytes, and go out as bytes; who is to be woken is collected. [`Shared`](super::shared) puts a lock around it.

mod incoming;
mod outgoing;

use std::{
    collections::{HashMap, VecDeque},
    io,
    task::{Poll, Waker},
};

pub(super) use self::incoming::Body;
use self::outgoing::Schedule;
use super::{
    frame::Farewell,
    stream::{Opener, Stream},
    window::{Budgets, ReceiveWindow},
};

/// Which numbers this side gives its streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Has opened the connection: odd ones.
    Client,
    /// Even ones.
    Server,
}

impl Role {
    /// Whether `stream` is of the other side.
    const fn is_other(self, stream: u32) -> bool {
        match self {
            Self::Client => stream.is_multiple_of(2),
            Self::Server => !stream.is_multiple_of(2),
        }
    }
}

/// What becomes of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    /// The other side takes no further streams. Those that there are go on.
    Leaving,
    /// The other side has given the connection up.
    Left,
    /// Nothing is received any more, and nothing new is sent.
    Ending,
}

/// What the task of the connection does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rest {
    /// There is something to be sent.
    Work,
    /// It is woken when there is.
    Sleep,
    /// The other side has given the connection up, or has taken leave and no stream is left.
    Over,
}

/// All numbers for streams have been used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no number is left for another stream")]
pub(super) struct Exhausted;

/// The streams. One that is opened stays until its handle is gone and nothing of it is left to be sent.
#[derive(Debug)]
pub(super) struct Streams {
    role: Role,
    limit: usize,
    budgets: Budgets,
    streams: HashMap<u32, Stream>,
    /// The number of the next one that this side opens.
    next: Option<u32>,
    /// Opened by the other side, and not yet taken.
    untaken: VecDeque<u32>,
    schedule: Schedule,
    phase: Phase,
    /// The task of the connection while it sleeps.
    task: Option<Waker>,
    /// Who waits to open a stream.
    opening: Option<Waker>,
    /// To be woken when the lock is released.
    woken: Vec<Waker>,
}

impl Streams {
    /// At most `limit` streams at a time.
    pub(super) fn new(role: Role, limit: usize, budgets: Budgets) -> Self {
        let next = match role {
            Role::Client => 1,
            Role::Server => 2,
        };
        Self {
            role,
            limit,
            budgets,
            streams: HashMap::new(),
            next: Some(next),
            untaken: VecDeque::new(),
            schedule: Schedule::default(),
            phase: Phase::Open,
            task: None,
            opening: None,
            woken: Vec::new(),
        }
    }

    /// Who is to be woken because of what was done.
    pub(super) fn take_woken(&mut self) -> Vec<Waker> {
        std::mem::take(&mut self.woken)
    }

    /// Opens a stream. Waits for room, and for good where the other side takes none: an error would end the streams that
    /// there are.
    pub(super) fn open(&mut self, waker: &Waker) -> Poll<Result<u32, Exhausted>> {
        if self.phase != Phase::Open || self.streams.len() >= self.limit {
            self.opening = Some(waker.clone());
            return Poll::Pending;
        }
        let Some(id) = self.next else { return Poll::Ready(Err(Exhausted)) };
        self.next = id.checked_add(2);
        self.streams.insert(id, Stream::new(id, Opener::This, ReceiveWindow::growing(self.budgets.clone())));
        Poll::Ready(Ok(id))
    }

    /// The oldest stream that the other side has opened and nobody has taken.
    pub(super) fn take(&mut self) -> Option<u32> {
        self.untaken.pop_front()
    }

    /// See [`Stream::read`].
    pub(super) fn read(&mut self, id: u32, read: u32, waker: &Waker) -> Poll<io::Result<Option<Vec<u8>>>> {
        let Some(stream) = self.streams.get_mut(&id) else { return Poll::Ready(Err(gone())) };
        let next = stream.read(read, waker);
        if stream.has_update() && self.schedule.update(id) {
            self.notify();
        }
        next
    }

    /// See [`Stream::write`].
    pub(super) fn write(&mut self, id: u32, bytes: &[u8], waker: &Waker) -> Poll<io::Result<usize>> {
        let Some(stream) = self.streams.get_mut(&id) else { return Poll::Ready(Err(gone())) };
        let written = stream.write(bytes, waker);
        self.schedule_output(id);
        written
    }

    /// See [`Stream::flush`].
    pub(super) fn flush(&mut self, id: u32) {
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.flush();
        }
    }

    /// Ends this side's half.
    pub(super) fn close(&mut self, id: u32) -> io::Result<()> {
        let closed = self.streams.get_mut(&id).ok_or_else(gone)?.close();
        self.schedule_output(id);
        closed
    }

    /// The handle of a stream is gone.
    pub(super) fn release(&mut self, id: u32) {
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.release();
            self.schedule_output(id);
            self.remove_if_over(id);
        }
    }

    fn schedule_output(&mut self, id: u32) {
        if self.streams.get(&id).is_some_and(Stream::has_output) && self.schedule.output(id) {
            self.notify();
        }
    }

    fn remove_if_over(&mut self, id: u32) {
        if self.streams.get(&id).is_some_and(Stream::is_over) {
            self.streams.remove(&id);
            self.woken.extend(self.opening.take());
            if self.phase == Phase::Leaving {
                self.notify();
            }
        }
    }

    /// Wakes the task of the connection, if it sleeps.
    fn notify(&mut self) {
        self.woken.extend(self.task.take());
    }

    /// The task of the connection is awake: it need not be woken.
    pub(super) fn awake(&mut self) {
        self.task = None;
    }

    /// The task of the connection would sleep.
    pub(super) fn sleep(&mut self, waker: &Waker) -> Rest {
        if self.phase == Phase::Left || self.phase == Phase::Leaving && self.streams.is_empty() {
            return Rest::Over;
        }
        if !self.schedule.is_empty() {
            return Rest::Work;
        }
        self.task = Some(waker.clone());
        Rest::Sleep
    }

    /// Closes the connection in order: what was written is sent, then that this side leaves.
    pub(super) fn leave(&mut self) {
        self.phase = Phase::Ending;
        let wakers = self.streams.values_mut().flat_map(Stream::deafened);
        self.woken.extend(wakers.flatten());
        self.woken.extend(self.opening.take());
        self.release_untaken();
        self.schedule.farewell = Some(Farewell::Normal);
    }

    /// The connection is lost, or given up: every stream is broken off. Tells the other side why, if it can be told.
    pub(super) fn abort(&mut self, farewell: Option<Farewell>) {
        self.phase = Phase::Ending;
        let wakers = self.streams.values_mut().flat_map(Stream::broken);
        self.woken.extend(wakers.flatten());
        self.woken.extend(self.opening.take());
        self.release_untaken();
        self.schedule = Schedule::ending(farewell);
        self.streams.retain(|_, stream| !stream.is_over());
    }

    fn release_untaken(&mut self) {
        for id in std::mem::take(&mut self.untaken) {
            self.release(id);
        }
    }

    /// How many there are, and bytes that are allocated for them.
    #[cfg(test)]
    pub(super) fn held(&self) -> (usize, usize) {
        (self.streams.len(), self.streams.values().map(Stream::allocated).sum())
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.streams.len()
    }
}

/// The error of a stream that is none any more.
fn gone() -> io::Error {
    io::ErrorKind::ConnectionReset.into()
}

#[cfg(test)]
mod tests;
