//! Progress of long work over heights: a bar on a terminal, a line now and then elsewhere.

use std::{
    io::{IsTerminal, stderr},
    time::{Duration, Instant},
};

use bytesize::ByteSize;
use indicatif::{ProgressBar, ProgressStyle};

/// Time between two lines where there is no terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(10);
/// The bar. Time left is that of the heights.
const TEMPLATE: &str = "{prefix} [{bar:32}] {pos}/{len} {percent}% {msg} {eta} left";

/// What is told beside the heights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Detail {
    /// Data that was moved so far.
    Moved { blobs: u64, bytes: u64 },
    /// Damaged rows that were found so far.
    Damaged(u64),
}

/// Shows how far something has come, on standard error.
#[derive(Debug)]
pub(super) struct Progress {
    name: &'static str,
    /// Heights in all.
    total: u64,
    started: Instant,
    mode: Mode,
}

#[derive(Debug)]
enum Mode {
    Bar(ProgressBar),
    Lines { last: Instant },
}

impl Progress {
    /// Begins at `now`, as standard error takes it.
    pub(super) fn new(name: &'static str, total: u64, now: Instant) -> Self {
        let mode = if stderr().is_terminal() {
            let style = ProgressStyle::with_template(TEMPLATE).unwrap_or_else(|_| ProgressStyle::default_bar());
            Mode::Bar(ProgressBar::new(total).with_style(style).with_prefix(name))
        } else {
            Mode::Lines { last: now }
        };
        Self { name, total, started: now, mode }
    }

    /// Shows what has been done by `now`.
    pub(super) fn show(&mut self, heights: u64, detail: Detail, now: Instant) {
        let elapsed = now.saturating_duration_since(self.started);
        match &mut self.mode {
            Mode::Bar(bar) => {
                bar.set_message(detail.text(elapsed));
                bar.set_position(heights);
            }
            Mode::Lines { last } => {
                if now.saturating_duration_since(*last) >= LINE_INTERVAL {
                    *last = now;
                    eprintln!("{}", line(self.name, self.total, heights, detail, elapsed));
                }
            }
        }
    }

    /// Runs `print`, which writes to the terminal, without the bar in its way.
    pub(super) fn aside<T>(&self, print: impl FnOnce() -> T) -> T {
        match &self.mode {
            Mode::Bar(bar) => bar.suspend(print),
            Mode::Lines { .. } => print(),
        }
    }

    /// Takes the bar away: what follows says how it ended.
    pub(super) fn finish(self) {
        match self.mode {
            Mode::Bar(bar) => bar.finish_and_clear(),
            Mode::Lines { .. } => {}
        }
    }
}

fn line(name: &str, total: u64, heights: u64, detail: Detail, elapsed: Duration) -> String {
    let percent = heights.saturating_mul(100) / total.max(1);
    let left = time_left(total, heights, elapsed)
        .map_or_else(String::new, |left| format!(", {} left", humantime::format_duration(left)));
    format!("{name}: {heights}/{total} heights, {percent} %, {}{left}", detail.text(elapsed))
}

impl Detail {
    fn text(self, elapsed: Duration) -> String {
        // At least a millisecond, so that the first look is no division by zero.
        let millis = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX).max(1);
        let per_second = |count: u64| count.saturating_mul(1000) / millis;
        match self {
            Self::Moved { blobs, bytes } => {
                format!("{} blobs/s, {}/s", per_second(blobs), ByteSize(per_second(bytes)))
            }
            Self::Damaged(rows) => format!("{rows} damaged"),
        }
    }
}

/// The time that the rest takes at the speed so far, in whole seconds; `None` before anything is done.
fn time_left(total: u64, done: u64, elapsed: Duration) -> Option<Duration> {
    let rest = total.saturating_sub(done);
    let seconds = u128::from(rest) * elapsed.as_millis() / 1000 / u128::from(done.max(1));
    (done > 0).then(|| Duration::from_secs(u64::try_from(seconds).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_there_is_to_know() {
        let moved = Detail::Moved { blobs: 1500, bytes: 200 * 1024 * 1024 };
        assert_eq!(
            line("export", 1000, 250, moved, Duration::from_secs(10)),
            "export: 250/1000 heights, 25 %, 150 blobs/s, 20.0 MiB/s, 30s left"
        );
        let none = line("import", 0, 0, Detail::Moved { blobs: 0, bytes: 0 }, Duration::ZERO);
        assert_eq!(none, "import: 0/0 heights, 0 %, 0 blobs/s, 0 B/s");
        let damaged = line("verify", 4, 4, Detail::Damaged(2), Duration::from_secs(1));
        assert_eq!(damaged, "verify: 4/4 heights, 100 %, 2 damaged, 0s left");
    }

    #[test]
    fn time_left_follows_the_speed_so_far() {
        assert_eq!(time_left(10, 0, Duration::from_secs(9)), None);
        assert_eq!(time_left(10, 10, Duration::from_secs(9)), Some(Duration::ZERO));
        assert_eq!(time_left(30, 10, Duration::from_secs(9)), Some(Duration::from_secs(18)));
    }
}
