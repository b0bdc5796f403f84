//! Time limits of a response by its progress. Pure: `now` is an argument.

use std::time::{Duration, Instant};

use crate::{Stall, Timeouts};

#[derive(Clone, Copy, Debug)]
enum Phase {
    /// Nothing has come yet.
    FirstByte { since: Instant },
    /// Between two chunks; the clock runs when the reader asks for the next one.
    Between { since: Option<Instant> },
    /// Within a chunk.
    Chunk { since: Instant, last: Instant, bytes: u64 },
}

/// How a response gets on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    first_byte: Duration,
    idle: Duration,
    grace: Duration,
    minimum_rate: u32,
    phase: Phase,
}

impl Pace {
    /// The request was written at `now`.
    pub(super) const fn new(limits: &Timeouts, now: Instant) -> Self {
        Self {
            first_byte: limits.first_byte,
            idle: limits.idle,
            grace: limits.grace,
            minimum_rate: limits.minimum_rate.get(),
            phase: Phase::FirstByte { since: now },
        }
    }

    /// The reader asks for a chunk.
    pub(super) const fn resume(&mut self, now: Instant) {
        if let Phase::Between { since: since @ None } = &mut self.phase {
            *since = Some(now);
        }
    }

    /// Bytes have come.
    pub(super) fn received(&mut self, count: usize, now: Instant) {
        let (since, before) = match self.phase {
            Phase::FirstByte { .. } | Phase::Between { .. } => (now, 0),
            Phase::Chunk { since, bytes, .. } => (since, bytes),
        };
        self.phase = Phase::Chunk { since, last: now, bytes: before.saturating_add(count as u64) };
    }

    /// A chunk is complete. The next one may have begun, but its time starts when the reader comes back for it.
    pub(super) const fn chunk_complete(&mut self) {
        self.phase = Phase::Between { since: None };
    }

    /// The reader itself paused for `time`.
    pub(super) fn paused(&mut self, time: Duration) {
        match &mut self.phase {
            Phase::FirstByte { since } => *since += time,
            Phase::Between { since } => *since = since.map(|since| since + time),
            Phase::Chunk { since, last, .. } => {
                *since += time;
                *last += time;
            }
        }
    }

    /// Until when the next byte must have come, and what it means if it has not.
    pub(super) fn deadline(&self, now: Instant) -> (Instant, Stall) {
        match self.phase {
            Phase::FirstByte { since } => (since + self.first_byte, Stall::FirstByte(self.first_byte)),
            Phase::Between { since: Some(since) } => (since + self.idle, Stall::Idle(self.idle)),
            Phase::Between { since: None } => (now + self.idle, Stall::Idle(self.idle)),
            Phase::Chunk { since, last, bytes } => {
                let silent = last + self.idle;
                let earned = Duration::from_secs_f64(bytes as f64 / f64::from(self.minimum_rate));
                let slow = since + self.grace + earned;
                if silent <= slow {
                    (silent, Stall::Idle(self.idle))
                } else {
                    (slow, Stall::TooSlow(self.minimum_rate))
                }
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn limits() -> Timeouts {
        Timeouts {
            first_byte: SECOND * 15,
            idle: SECOND * 30,
            grace: SECOND * 10,
            minimum_rate: NonZeroU32::new(1000).unwrap(),
            ..Timeouts::default()
        }
    }

    #[test]
    fn the_first_byte_has_a_limit_of_its_own() {
        let now = Instant::now();
        assert_eq!(Pace::new(&limits(), now).deadline(now), (now + SECOND * 15, Stall::FirstByte(SECOND * 15)));
    }

    #[test]
    fn a_drip_of_one_byte_per_second_is_cut() {
        let start = Instant::now();
        let mut pace = Pace::new(&limits(), start);
        let mut now = start;
        let cut = (0..).find(|_| {
            pace.received(1, now);
            now += SECOND;
            pace.deadline(now).0 <= now
        });
        assert_eq!(cut, Some(10), "after the grace");
        assert_eq!(pace.deadline(now).1, Stall::TooSlow(1000));
    }

    #[test]
    fn a_transfer_at_the_minimum_rate_is_never_cut() {
        let start = Instant::now();
        let mut pace = Pace::new(&limits(), start);
        let mut now = start;
        for _ in 0..100_000 {
            pace.received(1000, now);
            now += SECOND;
            assert!(pace.deadline(now).0 > now);
        }
    }

    #[test]
    fn silence_within_a_chunk_is_cut_even_if_it_was_fast_before() {
        let start = Instant::now();
        let mut pace = Pace::new(&limits(), start);
        pace.received(100_000_000, start);
        assert_eq!(pace.deadline(start), (start + SECOND * 30, Stall::Idle(SECOND * 30)));
    }

    #[test]
    fn the_readers_own_pauses_do_not_count() {
        let start = Instant::now();
        let mut pace = Pace::new(&limits(), start);
        pace.received(10, start);
        pace.chunk_complete();
        let back = start + SECOND * 3600;
        pace.resume(back);
        assert_eq!(pace.deadline(start).0, back + SECOND * 30);
        pace.resume(back + SECOND * 20);
        assert_eq!(pace.deadline(start).0, back + SECOND * 30, "asking again does not start the clock again");
        pace.received(10, back);
        pace.paused(SECOND * 100);
        assert!(pace.deadline(start).0 >= back + SECOND * 110);
    }
}
