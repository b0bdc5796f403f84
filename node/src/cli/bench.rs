//! `lapis bench`, and the processes that it starts.

use std::{env, num::NonZeroU64, path::PathBuf, time::Instant};

use clap::{Args, ValueEnum};
use tokio_util::sync::CancellationToken;

use super::{
    CliError,
    dispatch::{compact, print},
    launch::{quiet_log, with_runtime},
};
use crate::{
    bench::{self, BenchError, BenchOptions, Extent, MAX_HEIGHTS, Part, WorkerInput},
    telemetry,
};

/// Heights unless told otherwise.
const HEIGHTS: NonZeroU64 = NonZeroU64::MIN.saturating_add(999);
/// The same with `--quick`.
const QUICK_HEIGHTS: NonZeroU64 = NonZeroU64::MIN.saturating_add(149);

/// `lapis bench`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct BenchArgs {
    /// Print JSON, on one line
    #[arg(long, env = "LAPIS_BENCH_JSON")]
    pub json: bool,
    /// Measure for a minute at most (on two cores): fewer heights, one run of each kind, no faulty peers
    #[arg(long, env = "LAPIS_BENCH_QUICK")]
    pub quick: bool,
    /// Heights of the chain that is synced [default: 1000, with --quick 150]
    #[arg(long, value_name = "N", env = "LAPIS_BENCH_HEIGHTS", value_parser = parse_heights)]
    pub heights: Option<NonZeroU64>,
    /// Blobs per height
    #[arg(long, value_name = "N", default_value = "6", env = "LAPIS_BENCH_BLOBS")]
    pub blobs: NonZeroU64,
    /// Parts to measure, separated by commas; all if not given (with --quick all but faults)
    #[arg(long, value_name = "PART", env = "LAPIS_BENCH_ONLY", value_delimiter = ',')]
    pub only: Vec<Part>,
    /// Where stores are made meanwhile: on the disk that is to be measured
    #[arg(long, value_name = "DIR", env = "LAPIS_BENCH_DIR")]
    pub dir: Option<PathBuf>,
}

/// What is wrong with a number of heights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it must be a whole number from 1 to {MAX_HEIGHTS}")]
struct NotAHeightCount;

fn parse_heights(text: &str) -> Result<NonZeroU64, NotAHeightCount> {
    let heights: NonZeroU64 = text.parse().map_err(|_| NotAHeightCount)?;
    if heights.get() <= MAX_HEIGHTS { Ok(heights) } else { Err(NotAHeightCount) }
}

impl BenchArgs {
    fn options(self, program: PathBuf) -> BenchOptions {
        let parts = match (self.only.is_empty(), self.quick) {
            (false, _) => self.only.into_iter().collect(),
            (true, true) => Part::value_variants().iter().copied().filter(|part| *part != Part::Faults).collect(),
            (true, false) => Part::value_variants().iter().copied().collect(),
        };
        BenchOptions {
            dir: self.dir,
            program,
            heights: self.heights.unwrap_or(if self.quick { QUICK_HEIGHTS } else { HEIGHTS }),
            blobs: self.blobs,
            parts,
            extent: if self.quick { Extent::QUICK } else { Extent::FULL },
        }
    }
}

/// `lapis bench`.
pub(super) fn run(args: BenchArgs) -> Result<(), CliError> {
    let json = args.json;
    let options = args.options(env::current_exe().map_err(CliError::failed)?);
    options.check().map_err(CliError::bad_input)?;
    telemetry::init(&quiet_log()?)?;
    with_runtime(|stop: CancellationToken| async move {
        let started = Instant::now();
        let tell = |what: &str| eprintln!("lapis bench, {} s: {what}", started.elapsed().as_secs());
        let measured = stop.run_until_cancelled(bench::run(options, &tell)).await;
        let report = measured.unwrap_or(Err(BenchError::Interrupted)).map_err(bench_error)?;
        if json { print(&compact(&report)?) } else { print(&report.to_string()) }
    })
}

/// What the bench starts this program for.
pub(super) fn worker() -> Result<(), CliError> {
    telemetry::init(&quiet_log()?)?;
    let input = WorkerInput::standard();
    with_runtime(|stop: CancellationToken| async move {
        let worked = stop.run_until_cancelled(bench::work(input)).await;
        worked.unwrap_or(Err(BenchError::Interrupted)).map_err(CliError::failed)
    })
}

fn bench_error(error: BenchError) -> CliError {
    if error.is_bad_input() { CliError::bad_input(error) } else { CliError::failed(error) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use std::ffi::OsString;

    use super::*;
    use crate::cli::{Command, parse};

    fn options(line: &str) -> BenchOptions {
        let (cli, _) = parse(line.split(' ').map(OsString::from)).unwrap();
        let Command::Bench(args) = cli.command else { panic!("another command") };
        args.options("lapis".into())
    }

    #[test]
    fn a_quick_bench_is_shorter_and_leaves_faulty_peers_out() {
        let (full, quick) = (options("lapis bench"), options("lapis bench --quick"));
        assert_eq!((full.heights.get(), full.blobs.get()), (1000, 6));
        assert_eq!(quick.heights.get(), 150);
        assert!(full.parts.contains(&Part::Faults) && !quick.parts.contains(&Part::Faults));
        assert_eq!((full.extent, quick.extent), (Extent::FULL, Extent::QUICK));
    }

    #[test]
    fn parts_and_sizes_can_be_chosen() {
        let chosen = options("lapis bench --quick --only link,faults --heights 20 --blobs 1024");
        assert_eq!(chosen.parts.into_iter().collect::<Vec<_>>(), [Part::Link, Part::Faults]);
        assert_eq!((chosen.heights.get(), chosen.blobs.get()), (20, 1024));
    }
}
