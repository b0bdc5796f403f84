//! One rate with its burst.

use std::{num::NonZeroU32, time::Duration};

/// A token bucket: refilled at a steady rate, empty at worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Cells that come back in a second.
    pub per_second: NonZeroU32,
    /// Cells that the full bucket holds.
    pub burst: NonZeroU32,
}

impl Quota {
    /// `None` if either is 0.
    #[must_use]
    pub const fn new(per_second: u32, burst: u32) -> Option<Self> {
        match (NonZeroU32::new(per_second), NonZeroU32::new(burst)) {
            (Some(per_second), Some(burst)) => Some(Self { per_second, burst }),
            (None, _) | (_, None) => None,
        }
    }

    /// The same quota for `governor`: its time per cell is whole nanoseconds, rounded up so that the rate is never more.
    pub(crate) fn to_governor(self) -> governor::Quota {
        let interval = Duration::from_nanos(1_000_000_000_u64.div_ceil(u64::from(self.per_second.get())));
        let quota = governor::Quota::with_period(interval);
        quota.unwrap_or(governor::Quota::per_second(self.per_second)).allow_burst(self.burst)
    }
}
