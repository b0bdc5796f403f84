//! What the program writes about itself: log lines on standard error.
//!
//! Standard output is kept for what a command was asked for.

use std::io::{self, IsTerminal};

use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    filter::ParseError,
    layer::SubscriberExt,
    util::{SubscriberInitExt, TryInitError},
};

use crate::config::{LogConfig, LogFormat};

/// Why log lines cannot be written as configured.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter is not one.
    #[error("log.filter is not a log filter")]
    Filter(#[from] ParseError),
    /// Something in the process writes log lines already.
    #[error("logging is set up already")]
    Taken(#[from] TryInitError),
}

/// Starts writing log lines for the whole process.
///
/// # Errors
/// [`TelemetryError`].
pub fn init(config: &LogConfig) -> Result<(), TelemetryError> {
    let filter = parse_filter(&config.filter)?;
    tracing_subscriber::registry()
        .with(layer(config.format, Colours::of(&io::stderr()), io::stderr).with_filter(filter))
        .try_init()?;
    Ok(())
}

/// Checks a filter without setting anything up.
///
/// # Errors
/// What is wrong with it.
pub fn check_filter(filter: &str) -> Result<(), ParseError> {
    parse_filter(filter).map(drop)
}

fn parse_filter(filter: &str) -> Result<EnvFilter, ParseError> {
    EnvFilter::builder().parse(filter)
}

/// Whether lines for people have colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Colours {
    On,
    Off,
}

impl Colours {
    /// On for terminals, unless `NO_COLOR` is set.
    fn of(output: &impl IsTerminal) -> Self {
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        if output.is_terminal() && !unwanted { Self::On } else { Self::Off }
    }
}

/// The layer that writes lines of `format` to `writer`.
fn layer<W>(format: LogFormat, colours: Colours, writer: W) -> Box<dyn Layer<Registry> + Send + Sync>
where
    W: for<'a> tracing_subscriber::fmt::MakeWriter<'a> + Send + Sync + 'static,
{
    match format {
        LogFormat::Pretty => {
            tracing_subscriber::fmt::layer().with_ansi(colours == Colours::On).with_writer(writer).boxed()
        }
        LogFormat::Json => {
            let layer = tracing_subscriber::fmt::layer().json().flatten_event(true).with_span_list(false);
            layer.with_writer(writer).boxed()
        }
        LogFormat::Logfmt => tracing_logfmt::builder().with_target(true).layer().with_writer(writer).boxed(),
    }
}

#[cfg(test)]
mod tests;
