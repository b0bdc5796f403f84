//! Errors of commands: one line for people, a code for scripts.

use std::{error::Error, io, process::ExitCode};

use clap::error::ErrorKind;

use crate::{
    config::ConfigError, data_dir::DataDirError, error_line::flat, genesis_file::GenesisFileError, http::BindError,
    keys::KeyError, telemetry::TelemetryError,
};

/// Exit code of a command whose input makes no sense.
pub(super) const BAD_INPUT: u8 = 2;
/// Exit code of a command that was started and failed.
const FAILED: u8 = 1;

/// Why a command did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The directory does not fit.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The genesis is wrong.
    #[error(transparent)]
    Genesis(#[from] GenesisFileError),
    /// The key is wrong.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The log cannot be written as configured.
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
    /// An address is taken, or not ours.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// An address is not one.
    #[error("{flag} is {address:?}, it must be a host and a port such as 127.0.0.1:9651")]
    Address {
        /// The flag.
        flag: &'static str,
        /// What it was.
        address: String,
    },
    /// Something else that was given makes no sense; nothing was changed.
    #[error(transparent)]
    BadInput(Box<dyn Error + Send + Sync>),
    /// What was started failed.
    #[error(transparent)]
    Failed(Box<dyn Error + Send + Sync>),
    /// Standard output cannot be written to.
    #[error("cannot write to standard output")]
    Output(#[source] io::Error),
}

impl CliError {
    /// Something given makes no sense.
    pub fn bad_input(error: impl Error + Send + Sync + 'static) -> Self {
        Self::BadInput(Box::new(error))
    }

    /// What was started failed.
    pub fn failed(error: impl Error + Send + Sync + 'static) -> Self {
        Self::Failed(Box::new(error))
    }

    /// 2 if the input is to be changed, 1 if it was fine.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::DataDir(_)
            | Self::Genesis(_)
            | Self::Key(_)
            | Self::Config(_)
            | Self::Telemetry(_)
            | Self::Bind(_)
            | Self::Address { .. }
            | Self::BadInput(_) => BAD_INPUT,
            Self::Failed(_) | Self::Output(_) => FAILED,
        })
    }
}

/// clap's message without its usage block, on one line.
pub(super) fn usage_line(error: &clap::Error) -> String {
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return "a command is missing; `lapis help` lists them".to_owned();
    }
    let text = error.render().to_string();
    let kept = text.lines().take_while(|line| !line.starts_with("Usage:")).filter(|line| !line.starts_with("For more"));
    let line = flat(&kept.collect::<Vec<_>>().join("\n"));
    line.strip_prefix("error: ").unwrap_or(&line).replace(" tip: ", "; tip: ")
}
