//! Whether the next item is read where its exchange runs, or on a thread that may block.
//!
//! Handing an item to another thread and back costs about as much as reading a sidecar from memory does. So as long as
//! reads are that short, they are done in place; as soon as one is not, which is when the disk has to be asked, the next
//! ones are done where waiting harms nobody.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

/// Longest that a read from memory takes; several times what one sidecar needs.
const SHORT: Duration = Duration::from_micros(100);

/// Short reads in a row after which the next one is expected to be short as well.
const IN_A_ROW: u32 = 16;

/// Bytes of an item above which it is not read in place: what has to be copied and framed takes long by itself.
const MOST_BYTES: usize = 256 * 1024;

/// How long the latest reads of all exchanges took.
#[derive(Debug, Default)]
pub(crate) struct ReadTimes {
    short_in_a_row: AtomicU32,
}

impl ReadTimes {
    /// Whether an item of some `bytes` bytes, or of unknown size where that is 0, is to be read in place.
    pub(super) fn in_place(&self, bytes: usize) -> bool {
        (1..=MOST_BYTES).contains(&bytes) && self.short_in_a_row.load(Ordering::Relaxed) >= IN_A_ROW
    }

    /// Reading one item took `time`, wherever it was done.
    pub(super) fn record(&self, time: Duration) {
        if time > SHORT {
            self.short_in_a_row.store(0, Ordering::Relaxed);
        } else if self.short_in_a_row.load(Ordering::Relaxed) < IN_A_ROW {
            self.short_in_a_row.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIDECAR: usize = 131_184;

    #[test]
    fn nothing_is_read_in_place_before_reads_were_seen_to_be_short() {
        let times = ReadTimes::default();
        for _ in 0..IN_A_ROW {
            assert!(!times.in_place(SIDECAR));
            times.record(SHORT);
        }
        assert!(times.in_place(SIDECAR));
    }

    #[test]
    fn one_long_read_sends_the_next_ones_elsewhere() {
        let times = ReadTimes::default();
        (0..1000).for_each(|_| times.record(Duration::ZERO));
        times.record(SHORT + Duration::from_nanos(1));
        for _ in 0..IN_A_ROW {
            assert!(!times.in_place(SIDECAR));
            times.record(Duration::ZERO);
        }
        assert!(times.in_place(SIDECAR));
    }

    #[test]
    fn what_is_large_or_unknown_is_never_read_in_place() {
        let times = ReadTimes::default();
        (0..1000).for_each(|_| times.record(Duration::ZERO));
        for (bytes, in_place) in
            [(0, false), (1, true), (MOST_BYTES, true), (MOST_BYTES + 1, false), (usize::MAX, false)]
        {
            assert_eq!(times.in_place(bytes), in_place, "{bytes}");
        }
    }
}
