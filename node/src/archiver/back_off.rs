//! How long to wait after failures. Pure.

use std::time::Duration;

use rand::Rng;

/// Wait after the first failure, about; it doubles with each further one.
const FIRST: Duration = Duration::from_secs(1);
/// Longest wait. Outages of an object store end without us; finding out costs one request.
const LONGEST: Duration = Duration::from_secs(300);

/// Failures in a row, and what they mean for the next attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BackOff {
    failures: u32,
}

impl BackOff {
    /// An attempt failed: how long to wait before the next one. Between half and all of what the number of failures
    /// says, so that nodes that failed together do not come back together.
    pub fn failed(&mut self, rng: &mut impl Rng) -> Duration {
        let full = FIRST.saturating_mul(1 << self.failures.min(16)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        full.mul_f64(rng.random_range(0.5..=1.0))
    }

    /// An attempt succeeded.
    pub fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// Failures since the last success.
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_start_again_after_a_success() {
        let mut rng = StdRng::seed_from_u64(1);
        let mut back_off = BackOff::default();
        for failure in 0..100 {
            let full = FIRST.saturating_mul(1 << failure.min(16)).min(LONGEST);
            let wait = back_off.failed(&mut rng);
            assert!(full / 2 <= wait && wait <= full, "after failure {failure}: {wait:?}");
        }
        assert_eq!(back_off.failures(), 100);
        back_off.succeeded();
        assert!(back_off.failed(&mut rng) <= FIRST);
    }
}
