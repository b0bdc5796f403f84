//! A client as a process.

use std::{
    env, fmt, fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use alloy_primitives::hex;
use lapis_node::{
    devnet::{clients::EngineEndpoint, execution_genesis::ExecutionGenesis},
    execution::builder::Account,
};
use rand::random;
use tempfile::TempDir;

use super::rpc::{self, Head};
use crate::PATIENCE;

/// Time between two looks at a client that starts.
const LOOK: Duration = Duration::from_millis(50);
/// Ports that are free when they are looked for may be taken when they are needed; as often is it tried again.
const STARTS: usize = 3;
/// Time for one answer.
const ANSWER: Duration = Duration::from_secs(20);

/// A client that there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// ethrex, from its crates. It keeps nothing over a restart.
    Ethrex,
    /// @ethereumjs/client. It keeps its data in a directory.
    Ethereumjs,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Ethrex, Self::Ethereumjs];

    /// The other one.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Ethrex => Self::Ethereumjs,
            Self::Ethereumjs => Self::Ethrex,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ethrex => "ethrex",
            Self::Ethereumjs => "ethereumjs",
        })
    }
}

/// Where the clients are.
#[derive(Clone, Debug)]
pub struct Programs {
    /// The program made in `interop/execution/ethrex`.
    pub ethrex: PathBuf,
    /// A folder with `preload.mjs` and the packages of `interop/execution/ethereumjs`.
    pub ethereumjs: PathBuf,
}

/// A client is not where it should be.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{variable} does not say where a client is; tests/interop/run sets it")]
pub struct MissingProgram {
    variable: &'static str,
}

impl Programs {
    /// Where the environment says they are: `LAPIS_INTEROP_ETHREX` and `LAPIS_INTEROP_ETHEREUMJS`.
    ///
    /// # Errors
    /// [`MissingProgram`].
    pub fn from_env() -> Result<Self, MissingProgram> {
        let path = |variable: &'static str| {
            let named = env::var_os(variable).map(PathBuf::from).filter(|path| path.exists());
            named.ok_or(MissingProgram { variable })
        };
        Ok(Self { ethrex: path("LAPIS_INTEROP_ETHREX")?, ethereumjs: path("LAPIS_INTEROP_ETHEREUMJS")? })
    }

    fn command(&self, client: &ExecutionClient) -> Command {
        match client.kind {
            Kind::Ethrex => self.ethrex_command(client),
            Kind::Ethereumjs => self.ethereumjs_command(client),
        }
    }

    fn ethrex_command(&self, client: &ExecutionClient) -> Command {
        let mut command = Command::new(&self.ethrex);
        command.arg("--genesis").arg(client.genesis()).arg("--jwt-secret").arg(client.jwt_secret());
        command.args(["--engine", &client.engine.to_string(), "--http", &client.http.to_string()]);
        command
    }

    fn ethereumjs_command(&self, client: &ExecutionClient) -> Command {
        let mut command = Command::new("node");
        command.arg("--import").arg(self.ethereumjs.join("preload.mjs"));
        command.arg(self.ethereumjs.join("node_modules/@ethereumjs/client/dist/esm/bin/cli.js"));
        command.arg("--gethGenesis").arg(client.genesis()).arg("--jwtSecret").arg(client.jwt_secret());
        command.arg("--dataDir").arg(client.data());
        command.args(["--rpc", "--rpcAddr", "127.0.0.1", "--rpcPort", &client.http.port().to_string()]);
        command.args(["--rpcEngine", "--rpcEngineAddr", "127.0.0.1"]);
        command.args(["--rpcEnginePort", &client.engine.port().to_string()]);
        // It neither listens for peers nor looks for any.
        command.args(["--isSingleNode", "--sync", "none", "--maxPeers", "0", "--extIP", "127.0.0.1"]);
        command.args(["--discDns=false", "--discV4=false", "--logLevelFile", "error"]);
        command
    }
}

/// A client of one's own: its data, its secret, its ports. Killed when it is dropped.
#[derive(Debug)]
pub struct ExecutionClient {
    kind: Kind,
    programs: Programs,
    dir: TempDir,
    engine: SocketAddr,
    http: SocketAddr,
    calls: reqwest::Client,
    process: Option<Child>,
}

impl ExecutionClient {
    /// Starts a client on a new chain and waits until it answers.
    pub async fn start(programs: &Programs, kind: Kind, genesis: &ExecutionGenesis) -> Self {
        let dir = tempfile::Builder::new().prefix(&format!("lapis-{kind}-")).tempdir().unwrap();
        let calls = reqwest::Client::builder().timeout(ANSWER).pool_max_idle_per_host(0).build().unwrap();
        let (engine, http) = (free_address(), free_address());
        let mut client = Self { kind, programs: programs.clone(), dir, engine, http, calls, process: None };
        let json = genesis.to_json(&Account::development().unwrap()).to_string();
        fs::write(client.genesis(), json).unwrap();
        fs::write(client.jwt_secret(), hex::encode(random::<[u8; 32]>())).unwrap();
        for _ in 1..STARTS {
            if client.try_restart().await {
                return client;
            }
            (client.engine, client.http) = (free_address(), free_address());
        }
        client.restart().await;
        client
    }

    /// What it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Where its Engine API is.
    #[must_use]
    pub fn engine_url(&self) -> String {
        format!("http://{}", self.engine)
    }

    /// The file with the secret that it shares with who drives it.
    #[must_use]
    pub fn jwt_secret(&self) -> PathBuf {
        self.dir.path().join("jwt.hex")
    }

    /// The genesis file that it was started with.
    #[must_use]
    pub fn genesis(&self) -> PathBuf {
        self.dir.path().join("genesis.json")
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// What it has written to its output.
    fn log(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            process.wait().unwrap();
        }
    }

    /// Kills it and throws away all that it knows. It has to be started again.
    pub fn wipe(&mut self) {
        self.kill();
        if self.data().exists() {
            fs::remove_dir_all(self.data()).unwrap();
        }
    }

    /// Starts it again on the same ports, with what is left of its data, and waits until it answers.
    ///
    /// # Panics
    /// If it does not start.
    pub async fn restart(&mut self) {
        assert!(self.try_restart().await, "{} does not start: {}", self.kind, last_lines(&self.log()));
    }

    /// False if it has ended instead.
    async fn try_restart(&mut self) -> bool {
        let log = fs::File::options().append(true).create(true).open(self.log()).unwrap();
        let mut command = self.programs.command(self);
        // What it leaves in its current directory is its own.
        command.current_dir(self.dir.path()).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let mut process = command.spawn().unwrap();
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            if process.try_wait().unwrap().is_some() {
                return false;
            }
            // Another one may have taken the ports, and answers.
            if self.head().await.is_some() && process.try_wait().unwrap().is_none() {
                self.process = Some(process);
                return true;
            }
            assert!(tokio::time::Instant::now() < deadline, "{} does not answer", self.kind);
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Its head; `None` if it does not answer.
    pub async fn head(&self) -> Option<Head> {
        rpc::head(&self.calls, &format!("http://{}", self.http)).await
    }

    /// Its Engine API, as a devnet is told of it.
    #[must_use]
    pub fn endpoint(&self) -> EngineEndpoint {
        EngineEndpoint { url: self.engine_url(), jwt_secret: self.jwt_secret() }
    }
}

impl Drop for ExecutionClient {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A port of the loopback interface that nobody has now.
fn free_address() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}

fn last_lines(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<_> = text.lines().rev().take(10).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}
