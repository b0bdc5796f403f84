//! What a devnet run shows while it goes on: bars on a terminal, a line now and then elsewhere.

use std::{
    io::{IsTerminal, stderr},
    time::{Duration, Instant},
};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Time between two lines where there is no terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(2);

/// One node's state to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// Name.
    pub(super) name: String,
    /// Heights done of this node.
    pub(super) height: u64,
    /// More about it, in a few words.
    pub(super) detail: String,
}

/// Draws rows.
pub(super) struct Display {
    mode: Mode,
    total: u64,
}

enum Mode {
    Bars { all: MultiProgress, bars: Vec<(String, ProgressBar)> },
    Lines { last: Option<Instant> },
}

impl Display {
    /// A display for `total` heights, to what standard error is.
    pub(super) fn new(total: u64) -> Self {
        let mode = if stderr().is_terminal() {
            Mode::Bars { all: MultiProgress::with_draw_target(ProgressDrawTarget::stderr()), bars: Vec::new() }
        } else {
            Mode::Lines { last: None }
        };
        Self { mode, total }
    }

    /// Shows `rows` as they are at `now`.
    pub(super) fn show(&mut self, rows: &[Row], now: Instant) {
        match &mut self.mode {
            Mode::Bars { all, bars } => {
                for row in rows {
                    bar(all, bars, &row.name, self.total).set_message(row.detail.clone());
                    bar(all, bars, &row.name, self.total).set_position(row.height);
                }
            }
            Mode::Lines { last } => {
                if last.is_none_or(|last| now.saturating_duration_since(last) >= LINE_INTERVAL) {
                    *last = Some(now);
                    eprintln!("{}", line(rows, self.total));
                }
            }
        }
    }

    /// Leaves the last state standing.
    pub(super) fn finish(&mut self, rows: &[Row]) {
        match &mut self.mode {
            Mode::Bars { bars, .. } => bars.iter().for_each(|(_, bar)| bar.abandon()),
            Mode::Lines { .. } => eprintln!("{}", line(rows, self.total)),
        }
    }
}

fn bar<'a>(all: &MultiProgress, bars: &'a mut Vec<(String, ProgressBar)>, name: &str, total: u64) -> &'a ProgressBar {
    let position = bars.iter().position(|(known, _)| known == name).unwrap_or_else(|| {
        let style = ProgressStyle::with_template("{prefix:>10} [{bar:32}] {pos:>5}/{len} {msg}");
        let bar = all.add(ProgressBar::new(total)).with_prefix(name.to_owned());
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bars.push((name.to_owned(), bar));
        bars.len() - 1
    });
    #[expect(clippy::indexing_slicing, reason = "the position was just found or made")]
    &bars[position].1
}

fn line(rows: &[Row], total: u64) -> String {
    let parts: Vec<String> =
        rows.iter().map(|row| format!("{} {}/{total} {}", row.name, row.height, row.detail)).collect();
    parts.join("  |  ")
}
