//! `lapis replay-trace`.

use std::{fs::File, io::BufReader, path::PathBuf};

use super::{
    CliError, ReplayTraceArgs,
    dispatch::{print, table},
};
use crate::sync::trace::{ReplayError, Replayed, replay};

/// A trace that could not be decided again to its end.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {source}")]
struct NotReplayed {
    path: PathBuf,
    source: ReplayError,
}

pub(super) fn run(args: &ReplayTraceArgs) -> Result<(), CliError> {
    let path = args.file.clone();
    let replayed = File::open(&path).map_err(ReplayError::Read).and_then(|file| replay(BufReader::new(file)));
    let Replayed { inputs, polls, decisions, span, is_cut_off } = match replayed {
        Ok(replayed) => replayed,
        Err(source @ ReplayError::Differs { .. }) => return Err(CliError::failed(NotReplayed { path, source })),
        Err(source) => return Err(CliError::bad_input(NotReplayed { path, source })),
    };
    let last = if is_cut_off { "cut off, left out" } else { "whole" };
    print(&table(&[
        ("result", "every decision is as recorded".to_owned()),
        ("span", format!("{:.3} s", span.as_secs_f64())),
        ("inputs", inputs.to_string()),
        ("polls", polls.to_string()),
        ("decisions", decisions.to_string()),
        ("last line", last.to_owned()),
    ]))
}
