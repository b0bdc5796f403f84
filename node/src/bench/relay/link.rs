//! A link as arithmetic: when bytes leave it, and when they arrive. Pure; time is an argument.

use std::{
    collections::VecDeque,
    num::NonZeroU64,
    time::{Duration, Instant},
};

/// What a link is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Profile {
    /// Time from one end to the other.
    pub one_way: Duration,
    /// Bytes per second that the link carries in each direction; `None` for as many as come.
    pub bytes_per_second: Option<NonZeroU64>,
}

/// Bytes that one direction of a connection may hold at most: what 2.5 Gbit/s have under way in 25 ms.
const MAX_CAPACITY: usize = 8 * 1024 * 1024;
/// Fewest bytes that a connection may have under way, so that a read is worth its while.
const MIN_CAPACITY: usize = 64 * 1024;

impl Profile {
    /// Bytes that one direction of a connection may hold: the product of rate and round trip. Half of it flies, the
    /// other half is the queue in front.
    #[must_use]
    pub fn capacity(&self) -> usize {
        let Some(rate) = self.bytes_per_second else { return MAX_CAPACITY };
        let round_trip = self.one_way.as_micros().saturating_mul(2);
        let bytes = round_trip.saturating_mul(u128::from(rate.get())) / 1_000_000;
        usize::try_from(bytes).unwrap_or(usize::MAX).clamp(MIN_CAPACITY, MAX_CAPACITY)
    }
}

/// The rate of one direction of a link, shared by all connections over it: bytes leave one after another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    bytes_per_second: Option<NonZeroU64>,
    /// When the last byte that was given to it has left; `None` before there was any.
    free_at: Option<Instant>,
}

impl Rate {
    pub(super) const fn new(bytes_per_second: Option<NonZeroU64>) -> Self {
        Self { bytes_per_second, free_at: None }
    }

    /// When the last of so many bytes, given at `now`, has left. Nothing is saved up while the link is idle.
    pub(super) fn departure(&mut self, bytes: usize, now: Instant) -> Instant {
        let Some(rate) = self.bytes_per_second else { return now };
        let nanos = u128::try_from(bytes).unwrap_or(u128::MAX).saturating_mul(1_000_000_000) / u128::from(rate.get());
        let takes = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        let begins = self.free_at.map_or(now, |free| free.max(now));
        let ends = begins.checked_add(takes).unwrap_or(begins);
        self.free_at = Some(ends);
        ends
    }
}

/// What is under way in one direction of one connection, in order.
#[derive(Debug)]
pub(super) struct Flight {
    one_way: Duration,
    capacity: usize,
    queued: usize,
    chunks: VecDeque<(Instant, Vec<u8>)>,
}

impl Flight {
    pub(super) fn new(profile: &Profile) -> Self {
        Self { one_way: profile.one_way, capacity: profile.capacity(), queued: 0, chunks: VecDeque::new() }
    }

    /// Bytes that may be added.
    pub(super) const fn room(&self) -> usize {
        self.capacity.saturating_sub(self.queued)
    }

    /// Adds what leaves at `departure`.
    pub(super) fn push(&mut self, bytes: Vec<u8>, departure: Instant) {
        self.queued = self.queued.saturating_add(bytes.len());
        self.chunks.push_back((departure.checked_add(self.one_way).unwrap_or(departure), bytes));
    }

    /// When the next bytes arrive.
    pub(super) fn next_arrival(&self) -> Option<Instant> {
        self.chunks.front().map(|(arrival, _)| *arrival)
    }

    /// What has arrived by `now`, the first of it.
    pub(super) fn pop(&mut self, now: Instant) -> Option<Vec<u8>> {
        if self.next_arrival()? > now {
            return None;
        }
        let (_, bytes) = self.chunks.pop_front()?;
        self.queued = self.queued.saturating_sub(bytes.len());
        Some(bytes)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn profile(one_way: Duration, bytes_per_second: u64) -> Profile {
        Profile { one_way, bytes_per_second: NonZeroU64::new(bytes_per_second) }
    }

    #[test]
    fn a_link_without_a_rate_delays_and_nothing_else() {
        let (profile, start) = (profile(25 * MS, 0), Instant::now());
        let (mut rate, mut flight) = (Rate::new(None), Flight::new(&profile));
        for number in 0..3_u8 {
            let now = start + u32::from(number) * MS;
            flight.push(vec![number], rate.departure(1, now));
        }
        assert_eq!(flight.next_arrival(), Some(start + 25 * MS));
        assert_eq!(flight.pop(start + 24 * MS), None);
        assert_eq!(flight.pop(start + 26 * MS), Some(vec![0]));
        assert_eq!(flight.pop(start + 26 * MS), Some(vec![1]));
        assert_eq!(flight.pop(start + 26 * MS), None);
        assert_eq!(flight.pop(start + 27 * MS), Some(vec![2]));
        assert_eq!(flight.next_arrival(), None);
    }

    #[test]
    fn bytes_leave_at_the_rate_and_no_faster_after_a_pause() {
        let start = Instant::now();
        let mut rate = Rate::new(NonZeroU64::new(1_000_000));
        assert_eq!(rate.departure(1000, start), start + MS);
        // Two connections at once: the second one's bytes wait for the first one's.
        assert_eq!(rate.departure(4000, start), start + 5 * MS);
        assert_eq!(rate.departure(1000, start + 100 * MS), start + 101 * MS);
        assert_eq!(rate.departure(1000, start + 100 * MS), start + 102 * MS);
    }

    #[test]
    fn a_second_carries_what_the_rate_says() {
        let (profile, start) = (profile(25 * MS, 12_500_000), Instant::now());
        let (mut rate, mut flight) = (Rate::new(profile.bytes_per_second), Flight::new(&profile));
        let (mut arrived, mut now) = (0, start);
        while now < start + Duration::from_secs(1) {
            while flight.room() > 0 {
                let bytes = flight.room().min(16 * 1024);
                flight.push(vec![0; bytes], rate.departure(bytes, now));
            }
            now = flight.next_arrival().unwrap();
            while let Some(bytes) = flight.pop(now) {
                arrived += bytes.len();
            }
        }
        // Less one delay, at most one chunk more.
        let least = 12_500_000 * 975 / 1000;
        assert!((least..=least + 16 * 1024).contains(&arrived), "{arrived}");
    }

    #[test]
    fn a_full_link_takes_no_more_until_something_has_arrived() {
        let (profile, start) = (profile(25 * MS, 12_500_000), Instant::now());
        assert_eq!(profile.capacity(), 625_000);
        let mut flight = Flight::new(&profile);
        flight.push(vec![0; 600_000], start);
        assert_eq!(flight.room(), 25_000);
        flight.push(vec![0; 25_000], start + MS);
        assert_eq!(flight.room(), 0);
        assert_eq!(flight.pop(start + 25 * MS).map(|bytes| bytes.len()), Some(600_000));
        assert_eq!(flight.room(), 600_000);
    }

    #[test]
    fn no_profile_is_without_bounds() {
        for one_way in [Duration::ZERO, Duration::MAX] {
            for rate in [1, u64::MAX] {
                assert!((MIN_CAPACITY..=MAX_CAPACITY).contains(&profile(one_way, rate).capacity()));
            }
        }
        let now = Instant::now();
        let mut slowest = Rate::new(NonZeroU64::new(1));
        assert!(slowest.departure(usize::MAX, now) >= now);
        assert!(slowest.departure(usize::MAX, now) >= now);
    }
}
