//! How long to wait after failures. Pure.

use std::time::Duration;

use rand::Rng;

/// What is waited after `before` other failures in a row: `first` after none, twice as long after each, never longer than
/// `longest`.
#[must_use]
pub fn doubled(first: Duration, before: u32, longest: Duration) -> Duration {
    first.saturating_mul(1 << before.min(16)).min(longest)
}

/// Failures in a row, and what they mean for the next attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackOff {
    first: Duration,
    longest: Duration,
    failures: u32,
}

impl BackOff {
    /// Waits about `first` after the first failure, twice as long after each further one, and never longer than `longest`.
    #[must_use]
    pub fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, failures: 0 }
    }

    /// An attempt failed: how long to wait before the next one. Between half and all of what the number of failures
    /// says, so that nodes that failed together do not come back together.
    pub fn failed(&mut self, rng: &mut impl Rng) -> Duration {
        let full = doubled(self.first, self.failures, self.longest);
        self.failures = self.failures.saturating_add(1);
        full.mul_f64(rng.random_range(0.5..=1.0))
    }

    /// An attempt succeeded.
    pub fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// Failures since the last success.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    const FIRST: Duration = Duration::from_secs(1);

    #[test]
    fn waits_double_up_to_the_longest_and_start_again_after_a_success() {
        let mut rng = StdRng::seed_from_u64(1);
        let longest = Duration::from_secs(300);
        let mut back_off = BackOff::new(FIRST, longest);
        for failure in 0..100 {
            let full = FIRST.saturating_mul(1 << failure.min(16)).min(longest);
            let wait = back_off.failed(&mut rng);
            assert!(full / 2 <= wait && wait <= full, "after failure {failure}: {wait:?}");
        }
        assert_eq!(back_off.failures(), 100);
        back_off.succeeded();
        assert!(back_off.failed(&mut rng) <= FIRST);
    }

    #[test]
    fn a_longest_wait_below_the_first_one_is_kept_to() {
        let mut rng = StdRng::seed_from_u64(1);
        let longest = Duration::from_millis(5);
        let mut back_off = BackOff::new(FIRST, longest);
        assert!((0..10).all(|_| back_off.failed(&mut rng) <= longest));
    }
}
