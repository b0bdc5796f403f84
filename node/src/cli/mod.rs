//! The command line: what a person types, and what they are told when it makes no sense.
//!
//! Standard output carries what was asked for, standard error the rest. Exit codes: 0 done, 2 the input makes no sense
//! (and nothing was changed), 1 what was started failed; 130 and 143 after a second signal.

mod args;
mod ask;
mod bench;
mod db;
mod dispatch;
mod error;
mod export;
mod fetch;
mod import;
mod launch;
mod offline;
mod peers;
mod preflight;
mod progress;
mod replay;
mod status;
mod store_args;
mod verify;

#[cfg(test)]
mod tests;

use std::{ffi::OsString, process::ExitCode};

use clap::{ArgMatches, CommandFactory, FromArgMatches, error::ErrorKind};

pub use self::{
    args::{
        BanArgs, Cli, Command, CompletionsArgs, ConfigCommand, DevnetArgs, DirArgs, ExecutionGenesisArgs, InitArgs,
        KeyCommand, PeersArgs, PeersCommand, ReplayTraceArgs, RunArgs, StatusArgs, UnbanArgs,
    },
    bench::BenchArgs,
    dispatch::dispatch,
    error::CliError,
    fetch::FetchArgs,
    preflight::{Preflight, preflight},
    store_args::{DbCommand, ExportArgs, HeightSpan, ImportArgs, Packing, StatsArgs, VerifyArgs},
};
pub use crate::error_line::one_line;

/// Runs the program with the arguments of the process.
pub fn main() -> ExitCode {
    match parse(std::env::args_os()) {
        Ok((cli, matches)) => finish(dispatch(cli, &matches)),
        Err(error) => refuse(&error),
    }
}

/// Parses arguments, the program's name first.
///
/// # Errors
/// clap's, which may also be a request for help.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<(Cli, ArgMatches), clap::Error> {
    let matches = Cli::command().try_get_matches_from(arguments)?;
    let cli = Cli::from_arg_matches(&matches)?;
    Ok((cli, matches))
}

fn finish(result: Result<(), CliError>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lapis: {}", one_line(&error));
            error.exit_code()
        }
    }
}

/// Tells what is wrong with the arguments, or what was asked for about them.
fn refuse(error: &clap::Error) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // A closed pipe behind `--help` is no reason to complain.
            let _ = error.print();
            ExitCode::SUCCESS
        }
        _ => {
            eprintln!("lapis: {}", error::usage_line(error));
            ExitCode::from(error::BAD_INPUT)
        }
    }
}
