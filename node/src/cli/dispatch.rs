//! From a command to what does it.

use std::io::{self, Write};

use clap::{ArgMatches, CommandFactory};
use libp2p::identity::Keypair;
use serde::Serialize;
use tokio::runtime;

use super::{
    Cli, CliError, Command, CompletionsArgs, ConfigCommand, DbCommand, DirArgs, InitArgs, KeyCommand, bench, db,
    export, fetch, import, launch, peers, preflight, replay, status, verify,
};
use crate::{config::template, data_dir::DataDir};

/// Does what `cli` says. `matches` are the arguments that it was made of.
///
/// # Errors
/// [`CliError`], to be told on one line.
pub fn dispatch(cli: Cli, matches: &ArgMatches) -> Result<(), CliError> {
    match cli.command {
        Command::Devnet(args) => launch::devnet(args),
        Command::Bench(args) => bench::run(args),
        Command::BenchWorker => bench::worker(),
        Command::ExecutionGenesis(args) => launch::execution_genesis(args),
        Command::Init(args) => init(&args),
        Command::Run(args) => launch::run(&args, matches.subcommand_matches("run")),
        Command::Status(args) => ask_node(status::run(args)),
        Command::Peers(args) => ask_node(peers::run(args)),
        Command::Fetch(args) => fetch::run(&args),
        Command::Export(args) => export::run(&args),
        Command::Import(args) => import::run(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Db(DbCommand::Stats(args)) => db::stats(&args),
        Command::Db(DbCommand::Compact(args)) => db::compact(&args),
        Command::Key(KeyCommand::Show(args)) => show_key(&args),
        Command::Config(ConfigCommand::Show(args)) => show_config(&args),
        Command::ReplayTrace(args) => replay::run(&args),
        Command::Completions(args) => completions(&args),
    }
}

fn init(args: &InitArgs) -> Result<(), CliError> {
    let dir = DataDir::init(&args.dir, &args.genesis)?;
    let genesis = dir.genesis()?;
    let lines = [
        ("directory", dir.root().display().to_string()),
        ("chain", String::from_utf8_lossy(&genesis.chain_id).into_owned()),
        ("genesis id", genesis.id().to_string()),
        ("peer id", dir.key()?.public().to_peer_id().to_string()),
        ("configuration", dir.config_path().display().to_string()),
    ];
    print(&table(&lines))
}

fn show_key(args: &DirArgs) -> Result<(), CliError> {
    let key = DataDir::open(&args.dir)?.key()?;
    let lines = [("peer id", key.public().to_peer_id().to_string()), ("public key", public_key_hex(&key))];
    print(&table(&lines))
}

/// The 32 bytes of the ed25519 public key.
fn public_key_hex(key: &Keypair) -> String {
    match key.public().try_into_ed25519() {
        Ok(public) => format!("0x{}", hex::encode(public.to_bytes())),
        // Keys of other kinds are refused when they are read.
        Err(_) => "not an ed25519 key".to_owned(),
    }
}

fn show_config(args: &DirArgs) -> Result<(), CliError> {
    let dir = DataDir::open(&args.dir)?;
    let loaded = preflight::load(&dir, &[])?;
    loaded.check_against(&dir.genesis()?)?;
    print(&template::effective(&loaded))
}

fn completions(args: &CompletionsArgs) -> Result<(), CliError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "lapis", &mut script);
    print(&String::from_utf8_lossy(&script))
}

fn ask_node(question: impl Future<Output = Result<(), CliError>>) -> Result<(), CliError> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(CliError::failed)?;
    runtime.block_on(question)
}

/// `value` as JSON on one line.
pub(super) fn compact(value: &impl Serialize) -> Result<String, CliError> {
    let mut line = serde_json::to_string(value).map_err(CliError::failed)?;
    line.push('\n');
    Ok(line)
}

/// `name  value` lines with the values under one another.
pub(super) fn table(lines: &[(&str, String)]) -> String {
    let width = lines.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    lines.iter().map(|(name, value)| format!("{name:width$}  {value}\n")).collect()
}

/// Writes what was asked for. A reader that has gone away (a closed pipe) has seen what it wanted.
pub(super) fn print(text: &str) -> Result<(), CliError> {
    let mut output = io::stdout().lock();
    match output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(CliError::Output(error)),
        _ => Ok(()),
    }
}
