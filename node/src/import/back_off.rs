//! How long to wait before an engine that could not go on is tried again. Pure.

use std::time::Duration;

use rand::Rng;

/// Wait after the first failure, about; it doubles with each further one.
const FIRST: Duration = Duration::from_millis(200);

/// Failures in a row, and what they mean for the next attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BackOff {
    longest: Duration,
    failures: u32,
}

impl BackOff {
    /// Never waits longer than `longest`.
    pub(super) fn new(longest: Duration) -> Self {
        Self { longest, failures: 0 }
    }

    /// An attempt failed: how long to wait before the next one. Between half and all of what the number of failures
    /// says, so that nodes that share a client do not come back together.
    pub(super) fn failed(&mut self, rng: &mut impl Rng) -> Duration {
        let full = FIRST.saturating_mul(1 << self.failures.min(16)).min(self.longest);
        self.failures = self.failures.saturating_add(1);
        full.mul_f64(rng.random_range(0.5..=1.0))
    }

    /// An attempt succeeded.
    pub(super) fn succeeded(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_start_again_after_a_success() {
        let mut rng = StdRng::seed_from_u64(1);
        let longest = Duration::from_secs(10);
        let mut back_off = BackOff::new(longest);
        for failure in 0..100 {
            let full = FIRST.saturating_mul(1 << failure.min(16)).min(longest);
            let wait = back_off.failed(&mut rng);
            assert!(full / 2 <= wait && wait <= full, "after failure {failure}: {wait:?}");
        }
        back_off.succeeded();
        assert!(back_off.failed(&mut rng) <= FIRST);
    }

    #[test]
    fn a_longest_wait_below_the_first_one_is_kept_to() {
        let mut rng = StdRng::seed_from_u64(1);
        let longest = Duration::from_millis(5);
        let mut back_off = BackOff::new(longest);
        assert!((0..10).all(|_| back_off.failed(&mut rng) <= longest));
    }
}
