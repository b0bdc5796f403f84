//! The commands and their flags. Each flag can also be given by a variable of the environment.

use std::{net::SocketAddr, num::NonZeroU64, path::PathBuf, time::Duration};

use clap::{ArgMatches, Args, Parser, Subcommand, builder::RangedU64ValueParser, parser::ValueSource};
use clap_complete::Shell;
use lapis_protocol_spec::MAX_BLOBS_PER_BLOCK;
use libp2p::{Multiaddr, PeerId};

use super::{
    bench::BenchArgs,
    fetch::FetchArgs,
    store_args::{DbCommand, ExportArgs, ImportArgs, VerifyArgs},
};
use crate::{
    bench::WORKER_COMMAND,
    checkpoint::Checkpoint,
    config::{EngineKind, Origin},
    devnet::MAX_VALIDATORS,
};

/// Most heights that a devnet can be asked for: a day at one per 100 ms.
const MAX_DEVNET_HEIGHTS: u64 = 864_000;
/// Bounds of the time between two heights.
const BLOCK_TIMES: std::ops::RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(3600);

/// Bounds of a ban.
const BAN_TIMES: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(365 * 24 * 3600);

/// Moves execution payloads and blobs for chains whose consensus decides on metadata only.
#[derive(Clone, Debug, Parser)]
#[command(name = "lapis", version, max_term_width = 120)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What can be done.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Run a whole network in this process: producers, a follower, and a node that joins late and catches up
    Devnet(DevnetArgs),
    /// Measure what this machine can do, and how close a node comes to it
    Bench(BenchArgs),
    /// What `lapis bench` starts its processes with
    #[command(name = WORKER_COMMAND, hide = true)]
    BenchWorker,
    /// Print a genesis for execution clients that a devnet builds its blocks with, in the format of geth
    ExecutionGenesis(ExecutionGenesisArgs),
    /// Make the directory of a new node
    Init(InitArgs),
    /// Run a node
    Run(RunArgs),
    /// Ask a running node how it is
    Status(StatusArgs),
    /// Get blobs from one peer, without a node
    Fetch(FetchArgs),
    /// Ask a running node for its peers, or have it ban one
    Peers(PeersArgs),
    /// Write a range of whole heights into an archive
    Export(ExportArgs),
    /// Take over what an archive holds, verified like everything else
    Import(ImportArgs),
    /// Go through a store and say what is damaged
    Verify(VerifyArgs),
    /// Look at a store, or cut its file to what it needs
    #[command(subcommand)]
    Db(DbCommand),
    /// Look at a node's key
    #[command(subcommand)]
    Key(KeyCommand),
    /// Look at a node's configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Decide again what `lapis run --record-trace` recorded, and compare
    ReplayTrace(ReplayTraceArgs),
    /// Print a completion script for a shell
    Completions(CompletionsArgs),
}

/// `lapis devnet`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct DevnetArgs {
    /// Where to put the nodes' directories and devnet.json; a temporary place if not given
    #[arg(long, value_name = "DIR", env = "LAPIS_DEVNET_DIR")]
    pub dir: Option<PathBuf>,
    /// Number of validators, at most 32
    #[arg(long, value_name = "N", default_value_t = 4, env = "LAPIS_DEVNET_VALIDATORS",
        value_parser = RangedU64ValueParser::<u16>::new().range(1..=MAX_VALIDATORS as u64))]
    pub validators: u16,
    /// Number of heights to produce
    #[arg(long, value_name = "N", default_value = "64", env = "LAPIS_DEVNET_HEIGHTS", value_parser = parse_heights)]
    pub heights: NonZeroU64,
    /// Blobs per height
    #[arg(long, value_name = "N", default_value_t = 6, env = "LAPIS_DEVNET_BLOBS",
        value_parser = RangedU64ValueParser::<u16>::new().range(0..=MAX_BLOBS_PER_BLOCK as u64))]
    pub blobs: u16,
    /// Time between two heights
    #[arg(long, value_name = "TIME", default_value = "200ms", env = "LAPIS_DEVNET_BLOCK_TIME",
        value_parser = parse_block_time)]
    pub block_time: Duration,
    /// Change the validators every so many heights: another one of them is left out each time
    #[arg(long, value_name = "EVERY", env = "LAPIS_DEVNET_VALIDATOR_CHANGE")]
    pub validator_change: Option<NonZeroU64>,
    /// Keep the nodes running when all is done, until interrupted
    #[arg(long, env = "LAPIS_DEVNET_KEEP_RUNNING")]
    pub keep_running: bool,
    /// Engine API of an execution client that builds blocks and that a node imports into; may be given several times,
    /// for the validators, the follower and the late node in this order
    #[arg(long, value_name = "URL", env = "LAPIS_DEVNET_ENGINE_URL", value_delimiter = ',',
        requires_all = ["jwt_secret", "execution_genesis"])]
    pub engine_url: Vec<String>,
    /// File with the secret of the Engine API: one for all clients, or one for each
    #[arg(long, value_name = "FILE", env = "LAPIS_DEVNET_JWT_SECRET", value_delimiter = ',', requires = "engine_url")]
    pub jwt_secret: Vec<PathBuf>,
    /// The genesis file that the clients were started with; `lapis execution-genesis` makes one
    #[arg(long, value_name = "FILE", env = "LAPIS_DEVNET_EXECUTION_GENESIS", requires = "engine_url")]
    pub execution_genesis: Option<PathBuf>,
}

/// `lapis execution-genesis`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Args)]
pub struct ExecutionGenesisArgs {
    /// EIP-155 id of the chain
    #[arg(long, value_name = "N", default_value_t = 1337, env = "LAPIS_EXECUTION_CHAIN_ID",
        value_parser = RangedU64ValueParser::<u64>::new().range(1..))]
    pub chain_id: u64,
    /// Timestamp of block 0, in seconds; now if not given
    #[arg(long, value_name = "SECONDS", env = "LAPIS_EXECUTION_GENESIS_TIME")]
    pub genesis_time: Option<u64>,
    /// When the chain goes from Cancun to Prague, in seconds; 0 for at once, never if not given
    #[arg(long, value_name = "SECONDS", env = "LAPIS_EXECUTION_PRAGUE_TIME")]
    pub prague_time: Option<u64>,
}

/// `lapis init`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct InitArgs {
    /// Directory to make; it may exist if it is empty
    #[arg(long, value_name = "DIR", env = "LAPIS_DIR")]
    pub dir: PathBuf,
    /// The chain's genesis file
    #[arg(long, value_name = "FILE", env = "LAPIS_GENESIS")]
    pub genesis: PathBuf,
}

/// `lapis run`. What is not given here comes from the environment and the directory's config.toml.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct RunArgs {
    /// Directory that `lapis init` made
    #[arg(long, value_name = "DIR", env = "LAPIS_DIR")]
    pub dir: PathBuf,
    /// Address to listen on, may be given several times [config: network.listen]
    #[arg(long, value_name = "MULTIADDR", env = "LAPIS_LISTEN", value_delimiter = ',')]
    pub listen: Vec<Multiaddr>,
    /// Peer to stay connected with, may be given several times [config: network.peers]
    #[arg(long, value_name = "MULTIADDR", env = "LAPIS_PEER", value_delimiter = ',')]
    pub peer: Vec<Multiaddr>,
    /// Address of metrics, health and status [config: http.listen]
    #[arg(long, value_name = "ADDR", env = "LAPIS_HTTP")]
    pub http: Option<SocketAddr>,
    /// Decided value to start from instead of genesis, as HEIGHT:VALUE_ID, if the store is empty [config: sync.checkpoint]
    #[arg(long, value_name = "CHECKPOINT", env = "LAPIS_CHECKPOINT")]
    pub checkpoint: Option<Checkpoint>,
    /// Where payloads go [config: engine.kind]
    #[arg(long, value_name = "KIND", env = "LAPIS_ENGINE")]
    pub engine: Option<EngineKind>,
    /// File to record what the sync is told and decides, for `lapis replay-trace` [config: sync.record_trace]
    #[arg(long, value_name = "FILE", env = "LAPIS_RECORD_TRACE")]
    pub record_trace: Option<PathBuf>,
    /// Engine API of the execution client [config: engine.url]
    #[arg(long, value_name = "URL", env = "LAPIS_ENGINE_URL")]
    pub engine_url: Option<String>,
    /// File with the secret that the execution client has too [config: engine.jwt_secret]
    #[arg(long, value_name = "FILE", env = "LAPIS_JWT_SECRET")]
    pub jwt_secret: Option<PathBuf>,
}

/// `lapis replay-trace`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct ReplayTraceArgs {
    /// What was recorded
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

/// `lapis status`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct StatusArgs {
    /// HTTP address of the node: host and port
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9651", env = "LAPIS_HTTP")]
    pub http: String,
    /// Print the node's own JSON, on one line
    #[arg(long, env = "LAPIS_STATUS_JSON")]
    pub json: bool,
    /// Ask again every two seconds, until interrupted
    #[arg(long, env = "LAPIS_STATUS_WATCH")]
    pub watch: bool,
}

/// `lapis peers`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct PeersArgs {
    /// HTTP address of the node: host and port
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9651", env = "LAPIS_HTTP")]
    pub http: String,
    /// Print the node's own JSON, on one line
    #[arg(long, env = "LAPIS_PEERS_JSON")]
    pub json: bool,
    /// What to do; peers are shown if nothing is given
    #[command(subcommand)]
    pub command: Option<PeersCommand>,
}

/// What can be done to a peer.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum PeersCommand {
    /// Keep a peer out for a while; the node needs http.admin = true
    Ban(BanArgs),
    /// Let a banned peer in again; the node needs http.admin = true
    Unban(UnbanArgs),
}

/// `lapis peers ban`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct BanArgs {
    /// The peer
    #[arg(value_name = "ID", value_parser = parse_peer)]
    pub peer: PeerId,
    /// For how long, at most 365days
    #[arg(long = "for", value_name = "TIME", default_value = "1h", env = "LAPIS_PEERS_FOR", value_parser = parse_ban_time)]
    pub time: Duration,
    /// Address of the node's administration (http.admin_listen): host and port
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9652", env = "LAPIS_ADMIN")]
    pub admin: String,
}

/// `lapis peers unban`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct UnbanArgs {
    /// The peer
    #[arg(value_name = "ID", value_parser = parse_peer)]
    pub peer: PeerId,
    /// Address of the node's administration (http.admin_listen): host and port
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9652", env = "LAPIS_ADMIN")]
    pub admin: String,
}

/// `lapis key`.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum KeyCommand {
    /// Print the peer id and the public key
    Show(DirArgs),
}

/// `lapis config`.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum ConfigCommand {
    /// Print each value in force, and where it comes from
    Show(DirArgs),
}

/// A node's directory.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct DirArgs {
    /// Directory that `lapis init` made
    #[arg(long, value_name = "DIR", env = "LAPIS_DIR")]
    pub dir: PathBuf,
}

/// `lapis completions`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_name = "SHELL")]
    pub shell: Shell,
}

/// A flag of `lapis run` that was given, as a layer of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    /// Group of the key.
    pub group: &'static str,
    /// The key.
    pub key: &'static str,
    /// What it is set to.
    pub values: Vec<String>,
    /// The flag, or the variable that stands for it.
    pub origin: Origin,
}

impl RunArgs {
    /// The flags that were given. `matches` are those of the command, to tell flags from variables.
    pub fn overrides(&self, matches: Option<&ArgMatches>) -> Vec<Override> {
        let origin = |id: &str, flag: &'static str, variable: &str| match matches.and_then(|all| all.value_source(id)) {
            Some(ValueSource::EnvVariable) => Origin::Environment(variable.to_owned()),
            _ => Origin::Flag(flag),
        };
        let engine = self.engine.iter().filter_map(clap::ValueEnum::to_possible_value);
        [
            ("network", "listen", texts(&self.listen), origin("listen", "--listen", "LAPIS_LISTEN")),
            ("network", "peers", texts(&self.peer), origin("peer", "--peer", "LAPIS_PEER")),
            (
                "sync",
                "checkpoint",
                texts(self.checkpoint.as_slice()),
                origin("checkpoint", "--checkpoint", "LAPIS_CHECKPOINT"),
            ),
            ("http", "listen", texts(self.http.as_slice()), origin("http", "--http", "LAPIS_HTTP")),
            (
                "engine",
                "kind",
                engine.map(|value| value.get_name().to_owned()).collect(),
                origin("engine", "--engine", "LAPIS_ENGINE"),
            ),
            (
                "sync",
                "record_trace",
                self.record_trace.iter().map(|path| path.display().to_string()).collect(),
                origin("record_trace", "--record-trace", "LAPIS_RECORD_TRACE"),
            ),
            (
                "engine",
                "url",
                texts(self.engine_url.as_slice()),
                origin("engine_url", "--engine-url", "LAPIS_ENGINE_URL"),
            ),
            (
                "engine",
                "jwt_secret",
                self.jwt_secret.iter().map(|path| path.to_string_lossy().into_owned()).collect(),
                origin("jwt_secret", "--jwt-secret", "LAPIS_JWT_SECRET"),
            ),
        ]
        .into_iter()
        .filter(|(_, _, values, _)| !values.is_empty())
        .map(|(group, key, values, origin)| Override { group, key, values, origin })
        .collect()
    }
}

fn texts(values: &[impl ToString]) -> Vec<String> {
    values.iter().map(ToString::to_string).collect()
}

/// What is wrong with a number of heights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it must be a whole number from 2 (a node joins half way) to {MAX_DEVNET_HEIGHTS}")]
struct NotAHeightCount;

fn parse_heights(text: &str) -> Result<NonZeroU64, NotAHeightCount> {
    let heights: NonZeroU64 = text.parse().map_err(|_| NotAHeightCount)?;
    if (2..=MAX_DEVNET_HEIGHTS).contains(&heights.get()) { Ok(heights) } else { Err(NotAHeightCount) }
}

/// What is wrong with a peer id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it must be a peer id as `lapis peers` shows it")]
struct NotAPeer;

fn parse_peer(text: &str) -> Result<PeerId, NotAPeer> {
    text.parse().map_err(|_| NotAPeer)
}

/// What is wrong with the time of a ban.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it must be a time from 1s to 365days with its unit, such as 1h")]
struct NotABanTime;

fn parse_ban_time(text: &str) -> Result<Duration, NotABanTime> {
    let time = humantime::parse_duration(text).map_err(|_| NotABanTime)?;
    if BAN_TIMES.contains(&time) { Ok(time) } else { Err(NotABanTime) }
}

/// What is wrong with a block time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it must be a time from 1ms to 1h with its unit, such as 200ms or 2s")]
struct NotABlockTime;

fn parse_block_time(text: &str) -> Result<Duration, NotABlockTime> {
    let time = humantime::parse_duration(text).map_err(|_| NotABlockTime)?;
    if BLOCK_TIMES.contains(&time) { Ok(time) } else { Err(NotABlockTime) }
}
