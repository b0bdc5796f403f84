//! The commands that run nodes: log, runtime, signals, and the node itself.

use std::{
    env, fmt,
    future::Future,
    io,
    sync::Arc,
    time::{Duration, SystemTime},
};

use clap::ArgMatches;
use lapis_storage::DiskFile;
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;

use super::{CliError, DevnetArgs, ExecutionGenesisArgs, Preflight, RunArgs, dispatch::print, preflight::preflight};
use crate::{
    chain::Chain,
    checkpoint::CheckpointError,
    config::{Layers, LogConfig, Origin},
    data_dir::DataDir,
    devnet::{
        self, DevnetError, DevnetOptions, OptionsFault,
        clients::{ClientOptions, EngineEndpoint},
        execution_genesis::ExecutionGenesis,
    },
    execution::builder::Account,
    node::{self, Node, NodeOptions, Source, StartError},
    shutdown, telemetry,
};

/// How long the process waits for threads that are busy when everything else has ended.
const LAST_THREADS: Duration = Duration::from_secs(5);
/// What is logged unless told otherwise where progress is on the terminal.
const QUIET_FILTER: &str = "warn,libp2p_gossipsub=error,libp2p_kad=error";

/// The nodes of a devnet did not end up where they should.
#[derive(Debug)]
struct DoesNotHold;

impl std::error::Error for DoesNotHold {}

impl fmt::Display for DoesNotHold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the devnet did not hold: the summary says what is missing")
    }
}

/// The process cannot do what every process can.
#[derive(Debug, thiserror::Error)]
#[error("cannot start the runtime")]
struct RuntimeError(#[source] io::Error);

/// `lapis run`. `matches` are those of the command.
pub(super) fn run(args: &RunArgs, matches: Option<&ArgMatches>) -> Result<(), CliError> {
    let checked = preflight(DataDir::open(&args.dir)?, &args.overrides(matches))?;
    telemetry::init(&checked.loaded.config.log)?;
    // A wrong or missing file is found here, before anything is bound or written.
    let kzg = node::load_kzg(&checked.loaded.config.trusted_setup).map_err(CliError::bad_input)?;
    let Preflight { dir, genesis, key, loaded } = checked;
    let options = NodeOptions {
        config: loaded.config,
        chain: Chain::new(genesis),
        keypair: key,
        store: Arc::new(DiskFile::new(&dir.store_path())),
        peers_path: dir.peers_path(),
        evidence_path: dir.evidence_path(),
        kzg,
        source: Source::Follow,
        archives: Vec::new(),
    };
    with_runtime(|stop| async move {
        let node = match Node::start(options, stop).await {
            // As asked for.
            Err(StartError::Stopped) => return Ok(()),
            started => started.map_err(start_error)?,
        };
        let handle = node.handle();
        let http = handle.http.map(tracing::field::display);
        let admin = handle.admin.map(tracing::field::display);
        tracing::info!(peer = %handle.peer_id, addresses = ?handle.addresses(), http, admin, "node started");
        node.run().await.map_err(CliError::failed)?;
        tracing::info!("node stopped");
        Ok(())
    })
}

/// `lapis devnet`.
pub(super) fn devnet(args: DevnetArgs) -> Result<(), CliError> {
    let clients = clients(&args).map_err(CliError::bad_input)?;
    let options = DevnetOptions {
        dir: args.dir,
        validators: usize::from(args.validators),
        heights: args.heights,
        blobs: u64::from(args.blobs),
        block_time: args.block_time,
        keep_running: args.keep_running,
        validator_change: args.validator_change,
        clients,
    };
    telemetry::init(&quiet_log()?)?;
    let shown_already = options.keep_running;
    with_runtime(|stop| async move {
        let summary = devnet::run(options, stop).await.map_err(devnet_error)?;
        if !shown_already {
            print(&format!("\n{summary}\n"))?;
        }
        if summary.holds() { Ok(()) } else { Err(CliError::failed(DoesNotHold)) }
    })
}

/// The clients that were given, each with its secret.
fn clients(args: &DevnetArgs) -> Result<Option<ClientOptions>, OptionsFault> {
    let Some(genesis) = args.execution_genesis.clone() else { return Ok(None) };
    let secrets: Vec<_> = match (args.jwt_secret.as_slice(), args.engine_url.len()) {
        ([one], count) => std::iter::repeat_n(one.clone(), count).collect(),
        (each, count) if each.len() == count => each.to_vec(),
        (each, clients) => return Err(OptionsFault::Secrets { secrets: each.len(), clients }),
    };
    let pairs = args.engine_url.iter().cloned().zip(secrets);
    let engines = pairs.map(|(url, jwt_secret)| EngineEndpoint { url, jwt_secret }).collect();
    Ok(Some(ClientOptions { engines, genesis }))
}

/// `lapis execution-genesis`.
pub(super) fn execution_genesis(args: ExecutionGenesisArgs) -> Result<(), CliError> {
    let now = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let genesis_time = args.genesis_time.unwrap_or_else(now);
    let genesis = ExecutionGenesis::new(args.chain_id, genesis_time, args.prague_time.unwrap_or(u64::MAX));
    let account = Account::development().map_err(CliError::failed)?;
    print(&format!("{:#}\n", genesis.to_json(&account)))
}

/// The log of commands that show how it goes by themselves: as the environment says, and quiet if it says nothing.
pub(super) fn quiet_log() -> Result<LogConfig, CliError> {
    let loaded = Layers::new().environment(env::vars_os())?.finish()?;
    let mut log = loaded.config.log.clone();
    if *loaded.origin("log", "filter") == Origin::Default {
        QUIET_FILTER.clone_into(&mut log.filter);
    }
    Ok(log)
}

/// Runs `task` with a token that signals cancel, and leaves no thread behind.
pub(super) fn with_runtime<F>(task: impl FnOnce(CancellationToken) -> F) -> Result<(), CliError>
where
    F: Future<Output = Result<(), CliError>>,
{
    let runtime = runtime().map_err(|error| CliError::failed(RuntimeError(error)))?;
    let result = runtime.block_on(async {
        let stop = CancellationToken::new();
        shutdown::stop_on_signals(stop.clone()).map_err(|error| CliError::failed(RuntimeError(error)))?;
        task(stop).await
    });
    runtime.shutdown_timeout(LAST_THREADS);
    result
}

fn runtime() -> io::Result<Runtime> {
    Builder::new_multi_thread().enable_all().build()
}

/// Addresses, limits and a store that does not fit are for the operator to change; the rest is not.
fn start_error(error: StartError) -> CliError {
    match error {
        StartError::Network(_)
        | StartError::Http(_)
        | StartError::Open { .. }
        | StartError::Trace { .. }
        | StartError::JwtSecret(_)
        | StartError::NoEngineUrl
        | StartError::Checkpoint(CheckpointError::Contradicted { .. }) => CliError::bad_input(error),
        StartError::Archive(_)
        | StartError::EngineApi(_)
        | StartError::Store(_)
        | StartError::Checkpoint(CheckpointError::Store(_))
        | StartError::Stopped
        | StartError::EngineHead(_)
        | StartError::NoImportedBlock(_)
        | StartError::ImportedBlock(_) => CliError::failed(error),
    }
}

fn devnet_error(error: DevnetError) -> CliError {
    if error.is_bad_input() { CliError::bad_input(error) } else { CliError::failed(error) }
}
