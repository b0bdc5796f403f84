//! What is sent next: what is short and cannot wait first, then the streams in turns, one frame each.

use std::collections::{HashSet, VecDeque};

use super::Streams;
use crate::transport::yamux::frame::{Farewell, Header};

/// Pings that wait for their answers; of more the oldest is not answered.
const PONGS: usize = 4;

/// Streams beyond the limit that wait to be reset.
const REFUSALS: usize = 256;

/// The order in which things are sent. Streams are in each queue once.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    pongs: VecDeque<u32>,
    refusals: VecDeque<u32>,
    updates: Turns,
    outputs: Turns,
    /// Behind everything else.
    pub(super) farewell: Option<Farewell>,
}

/// Streams in turns.
#[derive(Debug, Default)]
struct Turns {
    queue: VecDeque<u32>,
    queued: HashSet<u32>,
}

impl Turns {
    /// Returns whether it was not queued.
    fn push(&mut self, id: u32) -> bool {
        let new = self.queued.insert(id);
        if new {
            self.queue.push_back(id);
        }
        new
    }

    fn pop(&mut self) -> Option<u32> {
        let id = self.queue.pop_front()?;
        self.queued.remove(&id);
        Some(id)
    }
}

impl Schedule {
    /// Nothing is to be sent but this.
    pub(super) fn ending(farewell: Option<Farewell>) -> Self {
        Self { farewell, ..Self::default() }
    }

    pub(super) fn pong(&mut self, number: u32) {
        if self.pongs.len() >= PONGS {
            self.pongs.pop_front();
        }
        self.pongs.push_back(number);
    }

    /// Returns whether there was room.
    pub(super) fn refuse(&mut self, id: u32) -> bool {
        let room = self.refusals.len() < REFUSALS;
        if room {
            self.refusals.push_back(id);
        }
        room
    }

    /// `id` has a window update. Returns whether that is new.
    pub(super) fn update(&mut self, id: u32) -> bool {
        self.updates.push(id)
    }

    /// `id` has frames. Returns whether that is new.
    pub(super) fn output(&mut self, id: u32) -> bool {
        self.outputs.push(id)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pongs.is_empty()
            && self.refusals.is_empty()
            && self.updates.queue.is_empty()
            && self.outputs.queue.is_empty()
            && self.farewell.is_none()
    }

    fn next_answer(&mut self) -> Option<Header> {
        let pong = self.pongs.pop_front().map(Header::pong);
        pong.or_else(|| self.refusals.pop_front().map(Header::reset))
    }
}

impl Streams {
    /// The next frame to be sent.
    pub(in crate::transport::yamux) fn next_frame(&mut self) -> Option<Vec<u8>> {
        let header = self.schedule.next_answer().or_else(|| self.next_update());
        if let Some(header) = header {
            return Some(header.encode().to_vec());
        }
        if let Some(frame) = self.next_output() {
            return Some(frame);
        }
        Some(Header::go_away(self.schedule.farewell.take()?).encode().to_vec())
    }

    fn next_update(&mut self) -> Option<Header> {
        while let Some(id) = self.schedule.updates.pop() {
            let update = self.streams.get_mut(&id).and_then(|stream| stream.next_update());
            if update.is_some() {
                return update;
            }
        }
        None
    }

    fn next_output(&mut self) -> Option<Vec<u8>> {
        while let Some(id) = self.schedule.outputs.pop() {
            let Some((frame, writer)) = self.streams.get_mut(&id).and_then(|stream| stream.next_frame()) else {
                continue;
            };
            self.woken.extend(writer);
            if self.streams.get(&id).is_some_and(|stream| stream.has_output()) {
                self.schedule.outputs.push(id);
            }
            self.remove_if_over(id);
            return Some(frame);
        }
        None
    }
}
