//! When to look for more peers with Kademlia: one walk at a time, further apart the less they find.

use std::time::{Duration, Instant};

use crate::config::Walks;

/// Where a walk leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    /// To this node's own neighbours, so that they come to know it.
    Own,
    /// Anywhere.
    Random,
}

/// The pace of walks.
#[derive(Debug)]
pub(crate) struct Pace {
    rules: Walks,
    next: Instant,
    delay: Duration,
    walked: u64,
}

impl Pace {
    pub(crate) fn new(rules: Walks, now: Instant) -> Self {
        Self { rules, next: now, delay: rules.first_delay, walked: 0 }
    }

    /// Whether it is time for a walk, and where to. It is taken to be under way from here.
    pub(crate) fn due(&mut self, now: Instant) -> Option<Destination> {
        if now < self.next {
            return None;
        }
        self.next = now + self.delay;
        let destination = if self.walked == 0 { Destination::Own } else { Destination::Random };
        self.walked = self.walked.saturating_add(1);
        Some(destination)
    }

    /// Peers are wanted now, however rare walks have become. At most as often as walks are at first.
    pub(crate) fn hurry(&mut self, now: Instant) {
        self.delay = self.rules.first_delay;
        self.next = self.next.min(now + self.delay);
    }

    /// A walk has ended and led to so many peers that were not known. `jitter` is in `0.0..1.0`.
    pub(crate) fn ended(&mut self, newcomers: usize, now: Instant, jitter: f64) {
        self.delay = if newcomers > 0 {
            self.rules.first_delay
        } else {
            self.delay.saturating_mul(2).min(self.rules.longest_delay)
        };
        self.next = now + self.delay.mul_f64(0.5 + 0.5 * jitter.clamp(0.0, 1.0));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use super::*;

    const RULES: Walks = Walks { first_delay: Duration::from_secs(5), longest_delay: Duration::from_secs(20) };

    #[test]
    fn walks_that_find_nobody_grow_rare_and_one_that_does_resets_it() {
        let mut now = Instant::now();
        let mut pace = Pace::new(RULES, now);
        assert_eq!(pace.due(now), Some(Destination::Own));
        for seconds in [10, 20, 20] {
            assert_eq!(pace.due(now), None, "one at a time");
            pace.ended(0, now, 1.0);
            assert_eq!(pace.due(now + Duration::from_secs(seconds) - Duration::from_millis(1)), None);
            now += Duration::from_secs(seconds);
            assert_eq!(pace.due(now), Some(Destination::Random));
        }
        pace.ended(3, now, 1.0);
        assert_eq!(pace.due(now + RULES.first_delay), Some(Destination::Random));
    }

    #[test]
    fn a_hurry_makes_walks_as_frequent_as_at_first() {
        let now = Instant::now();
        let mut pace = Pace::new(RULES, now);
        pace.due(now);
        pace.ended(0, now, 1.0);
        pace.ended(0, now, 1.0);
        assert_eq!(pace.due(now + RULES.first_delay), None);
        pace.hurry(now);
        assert_eq!(pace.due(now), None, "not more often");
        assert_eq!(pace.due(now + RULES.first_delay), Some(Destination::Random));
    }

    #[test]
    fn a_walk_that_never_ends_does_not_end_walking() {
        let now = Instant::now();
        let mut pace = Pace::new(RULES, now);
        pace.due(now);
        assert!(pace.due(now + RULES.first_delay).is_some());
    }
}
