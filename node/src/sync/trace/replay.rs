//! Deciding again what was recorded.

use std::{
    io::{self, BufRead, Read},
    time::{Duration, Instant},
};

use super::{Decision, Header, Line, RecordedScheduler, TRACE_FORMAT, What};

/// Longest line that is read: what a window of heights of the most blobs each takes, and more.
pub const MAX_LINE: u64 = 64 * 1024 * 1024;

/// What a trace held, all of it decided again as recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Things that the scheduler was told.
    pub inputs: u64,
    /// Times that it was asked for decisions.
    pub polls: u64,
    /// Decisions.
    pub decisions: u64,
    /// From the first line to the last.
    pub span: Duration,
    /// The last line was cut off, as happens when a node is killed; it was left out.
    pub is_cut_off: bool,
}

/// Why a trace is not decided again to its end.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// It cannot be read.
    #[error("the trace cannot be read: {0}")]
    Read(#[from] io::Error),
    /// It does not begin as traces do.
    #[error("not a trace: {0}")]
    Header(#[source] serde_json::Error),
    /// It is empty.
    #[error("not a trace: it is empty")]
    Empty,
    /// The seed is not 32 bytes of hex.
    #[error("not a trace: its seed is none")]
    Seed,
    /// Of another version.
    #[error("a trace of format {0}, this program reads {TRACE_FORMAT}")]
    Format(u32),
    /// A line that is none.
    #[error("line {line}: {source}")]
    Line {
        /// Its number, from 1.
        line: u64,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// Longer than any line is.
    #[error("line {line} is longer than {MAX_LINE} bytes")]
    TooLong {
        /// Its number, from 1.
        line: u64,
    },
    /// The scheduler decides otherwise.
    #[error("line {line}: recorded {recorded:?}, decided now {now:?}")]
    Differs {
        /// Its number, from 1.
        line: u64,
        /// As recorded.
        recorded: Vec<Decision>,
        /// As decided now.
        now: Vec<Decision>,
    },
}

/// Tells a fresh scheduler what `trace` holds and compares what it decides.
///
/// # Errors
/// [`ReplayError`] at the first line that does not fit.
pub fn replay(trace: impl BufRead) -> Result<Replayed, ReplayError> {
    let mut lines = Lines { trace, number: 0, is_cut_off: false };
    let first = lines.next()?.ok_or(ReplayError::Empty)?;
    let mut scheduler = begin(&first)?;
    let start = Instant::now();
    let mut replayed = Replayed::default();
    while let Some(text) = lines.next()? {
        let line = lines.number;
        let Line { at, what } = serde_json::from_slice(&text).map_err(|source| ReplayError::Line { line, source })?;
        replayed.span = Duration::from_nanos(at);
        let now = start + replayed.span;
        match what {
            What::Told(input) => {
                replayed.inputs += 1;
                let _ = scheduler.take(input, now);
            }
            What::Decided(recorded) => {
                replayed.polls += 1;
                replayed.decisions += recorded.len() as u64;
                let decided = scheduler.poll(now).comparable();
                if decided != recorded {
                    return Err(ReplayError::Differs { line, recorded, now: decided });
                }
            }
        }
    }
    replayed.is_cut_off = lines.is_cut_off;
    Ok(replayed)
}

/// The scheduler that a trace begins with.
fn begin(line: &[u8]) -> Result<RecordedScheduler, ReplayError> {
    let header: Header = serde_json::from_slice(line).map_err(ReplayError::Header)?;
    if header.lapis_trace != TRACE_FORMAT {
        return Err(ReplayError::Format(header.lapis_trace));
    }
    let mut seed = [0; 32];
    hex::decode_to_slice(&header.seed, &mut seed).map_err(|_| ReplayError::Seed)?;
    Ok(RecordedScheduler::new(header.begin, seed, Instant::now(), None))
}

/// Whole lines.
struct Lines<R> {
    trace: R,
    /// Of the last one, from 1.
    number: u64,
    is_cut_off: bool,
}

impl<R: BufRead> Lines<R> {
    fn next(&mut self) -> Result<Option<Vec<u8>>, ReplayError> {
        let mut text = Vec::new();
        (&mut self.trace).take(MAX_LINE).read_until(b'\n', &mut text)?;
        self.number += 1;
        match text.pop() {
            None => Ok(None),
            Some(b'\n') => Ok(Some(text)),
            Some(_) if text.len() as u64 + 1 >= MAX_LINE => Err(ReplayError::TooLong { line: self.number }),
            Some(_) => {
                self.is_cut_off = true;
                Ok(None)
            }
        }
    }
}
