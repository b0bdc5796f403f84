//! The log of long work: a line now and then while the node is behind, one when it has caught up, nothing at the head.

use std::time::{Duration, Instant};

use lapis_protocol_spec::Height;

/// Time between two lines.
const INTERVAL: Duration = Duration::from_secs(10);
/// How far behind the node must be for that to be work and not the head's own pace.
const BEHIND: u64 = 2;

/// Where the node stands at a moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Position {
    pub(super) imported: Height,
    pub(super) target: Height,
    pub(super) verified_blobs: u64,
    pub(super) stored_bytes: u64,
}

/// A stretch of catching up.
#[derive(Clone, Copy, Debug)]
struct Stretch {
    since: Instant,
    from: Position,
    said: Instant,
}

/// Decides what to say.
#[derive(Debug, Default)]
pub(super) struct CatchUpLog(Option<Stretch>);

/// A line to write.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Line {
    /// Still behind.
    Behind {
        /// Share of the stretch that is done.
        percent: u64,
        /// Expected time to the target at the pace so far; `None` before there is one.
        left: Option<Duration>,
        /// Blobs verified per second.
        blobs_per_second: u64,
        /// Bytes stored per second.
        bytes_per_second: u64,
    },
    /// At the head.
    Done {
        /// Heights of the stretch.
        heights: u64,
        /// Blobs verified in it.
        blobs: u64,
        /// How long it took.
        took: Duration,
    },
}

impl CatchUpLog {
    /// What to say at `now`, if anything.
    pub(super) fn look(&mut self, at: Position, now: Instant) -> Option<Line> {
        let behind = at.target.saturating_sub(at.imported);
        let Some(stretch) = &mut self.0 else {
            if behind > BEHIND {
                self.0 = Some(Stretch { since: now, from: at, said: now });
            }
            return None;
        };
        if behind == 0 {
            let done = stretch.done(at, now);
            self.0 = None;
            return Some(done);
        }
        let due = now.saturating_duration_since(stretch.said) >= INTERVAL;
        due.then(|| {
            stretch.said = now;
            stretch.behind(at, now)
        })
    }
}

impl Stretch {
    fn done(&self, at: Position, now: Instant) -> Line {
        Line::Done {
            heights: at.imported.saturating_sub(self.from.imported),
            blobs: at.verified_blobs.saturating_sub(self.from.verified_blobs),
            took: now.saturating_duration_since(self.since),
        }
    }

    fn behind(&self, at: Position, now: Instant) -> Line {
        let elapsed = now.saturating_duration_since(self.since);
        let done = at.imported.saturating_sub(self.from.imported);
        let left = at.target.saturating_sub(at.imported);
        let millis = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX).max(1);
        let per_second = |count: u64| count.saturating_mul(1000) / millis;
        Line::Behind {
            percent: done.saturating_mul(100) / done.saturating_add(left).max(1),
            left: (done > 0).then(|| elapsed.mul_f64(left as f64 / done as f64)),
            blobs_per_second: per_second(at.verified_blobs.saturating_sub(self.from.verified_blobs)),
            bytes_per_second: per_second(at.stored_bytes.saturating_sub(self.from.stored_bytes)),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;

    fn at(imported: Height, target: Height) -> Position {
        Position { imported, target, verified_blobs: imported * 6, stored_bytes: imported * 1_000_000 }
    }

    #[test]
    fn the_head_is_quiet() {
        let mut log = CatchUpLog::default();
        let start = Instant::now();
        for second in 0..100 {
            assert_eq!(log.look(at(second, second + 1), start + Duration::from_secs(second)), None);
        }
    }

    #[test]
    fn a_long_way_is_told_every_ten_seconds_and_at_its_end() {
        let mut log = CatchUpLog::default();
        let start = Instant::now();
        assert_eq!(log.look(at(0, 1000), start), None);
        let mut lines = Vec::new();
        for second in 1..=40 {
            lines.extend(log.look(at(second * 25, 1000), start + Duration::from_secs(second)));
        }
        assert_eq!(lines.len(), 4, "{lines:?}");
        let left = Some(Duration::from_secs(30));
        let first = Line::Behind { percent: 25, left, blobs_per_second: 150, bytes_per_second: 25_000_000 };
        assert_eq!(lines.first(), Some(&first));
        let done = Line::Done { heights: 1000, blobs: 6000, took: Duration::from_secs(40) };
        assert_eq!(lines.last(), Some(&done));
    }

    #[test]
    fn no_pace_gives_no_estimate() {
        let mut log = CatchUpLog::default();
        let start = Instant::now();
        log.look(at(7, 1000), start);
        let Some(Line::Behind { percent: 0, left: None, .. }) = log.look(at(7, 1000), start + INTERVAL) else {
            panic!("a line without an estimate is due");
        };
    }
}
