//! The real program, as a process of its own.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::LazyLock,
    time::SystemTime,
};

use lapis_node::{data_dir::DataDir, genesis_file, status::NodeStatus};
use lapis_storage::{Store, StoreConfig};
use libp2p::Multiaddr;
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::{mpsc, oneshot, watch},
};

use crate::{TestChain, patiently};

/// The crates that the program is built from.
const SOURCES: [&str; 4] = ["node", "p2p", "protocol-spec", "storage"];
/// Lines of the log that wait for the test.
const LINES: usize = 1024;

/// The variable that names the program; if it is not there, the program of the same build is tested.
const NAMED: &str = "LAPIS_INTEROP_BINARY";

static PATH: LazyLock<PathBuf> = LazyLock::new(|| std::env::var_os(NAMED).map_or_else(locate, PathBuf::from));

/// The directory of a node that runs as a process, or does not run.
#[derive(Debug)]
pub struct Program {
    dir: TempDir,
    genesis: lapis_protocol_spec::Genesis,
}

/// A running process. Killed when it is dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: mpsc::Receiver<Value>,
    ended: oneshot::Receiver<()>,
    /// Where it answers HTTP.
    http: Option<SocketAddr>,
}

impl Program {
    /// Makes the directory with `lapis init`.
    pub fn init(chain: &TestChain) -> Self {
        let dir = TempDir::new().unwrap();
        let genesis = chain.spec().genesis().clone();
        let file = dir.path().join("chain.json");
        fs::write(&file, genesis_file::to_json(&genesis).unwrap()).unwrap();
        let program = Self { dir, genesis };
        let output = command(&["init"], &program.node_dir()).arg("--genesis").arg(&file).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        program
    }

    fn node_dir(&self) -> PathBuf {
        self.dir.path().join("node")
    }

    /// Starts `lapis run` with `settings`, variables and their values, and waits until it says that it has started.
    pub async fn run(&self, peers: &[Multiaddr], settings: &[(&str, &str)]) -> Process {
        let mut command = command(&["run"], &self.node_dir());
        command.args(["--listen", "/ip4/127.0.0.1/tcp/0", "--http", "127.0.0.1:0"]);
        for peer in peers {
            command.arg("--peer").arg(peer.to_string());
        }
        command.env("LAPIS_LOG__FORMAT", "json").envs(settings.iter().copied()).stderr(Stdio::piped());
        let mut process = Process::spawn(command);
        let started = process.says("node started").await;
        process.http = started["http"].as_str().and_then(|address| address.parse().ok());
        process
    }

    /// `lapis verify`, while it does not run.
    pub fn verify(&self) -> Output {
        command(&["verify"], &self.node_dir()).stdout(Stdio::piped()).output().unwrap()
    }

    /// The store's file.
    pub fn store_path(&self) -> PathBuf {
        self.node_dir().join("store.redb")
    }

    /// Its store, while it does not run.
    pub fn store(&self) -> Store {
        let dir = DataDir::open(&self.node_dir()).unwrap();
        Store::open(&dir.store_path(), &self.genesis, StoreConfig::default()).unwrap()
    }
}

impl Process {
    fn spawn(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let stderr = child.stderr.take().unwrap();
        let (lines, log) = mpsc::channel(LINES);
        let (end, ended) = oneshot::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let event = serde_json::from_str(&line).unwrap_or(Value::String(line));
                // What the test does not read is not kept, and never holds up the process.
                let _ = lines.try_send(event);
            }
            let _ = end.send(());
        });
        Self { child, log, ended, http: None }
    }

    /// Waits for this message in its log, and returns the event.
    pub async fn says(&mut self, message: &str) -> Value {
        let mut seen = Vec::new();
        let said = async {
            while let Some(event) = self.log.recv().await {
                if event["message"] == message {
                    return Some(event);
                }
                seen.push(event);
            }
            None
        };
        let said = patiently(message, said).await;
        said.unwrap_or_else(|| panic!("the process ended without {message:?}: {seen:#?}"))
    }

    /// What it answers to `GET /status`; `None` if it does not answer.
    pub async fn status(&self) -> Option<NodeStatus> {
        status(self.http.expect("the process has started")).await
    }

    /// What it answers to `GET /status`, asked again and again until it is killed; `None` before the first answer.
    pub fn statuses(&self) -> watch::Receiver<Option<NodeStatus>> {
        let (sender, receiver) = watch::channel(None);
        let http = self.http.expect("the process has started");
        tokio::spawn(async move {
            while let Some(status) = status(http).await {
                if sender.send(Some(status)).is_err() {
                    return;
                }
            }
        });
        receiver
    }

    /// SIGKILL, and waits until nothing is left of it.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM, and waits for the end in order.
    pub async fn stop(mut self) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        let _ = patiently("the process stops", &mut self.ended).await;
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It has ended already, unless a test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `GET /status`; `None` once the process has been killed.
async fn status(http: SocketAddr) -> Option<NodeStatus> {
    let mut stream = TcpStream::connect(http).await.ok()?;
    stream.write_all(b"GET /status HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n").await.ok()?;
    let mut answer = String::new();
    patiently("an answer over HTTP", stream.read_to_string(&mut answer)).await.ok()?;
    let body = answer.split_once("\r\n\r\n")?.1;
    (!body.is_empty()).then(|| serde_json::from_str(body).ok()).flatten()
}

fn command(words: &[&str], dir: &Path) -> Command {
    let mut command = bare_command();
    command.args(words).arg("--dir").arg(dir).stdout(Stdio::null());
    command
}

/// The program, with none of the variables that would configure it.
pub(crate) fn bare_command() -> Command {
    let mut command = Command::new(&*PATH);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("LAPIS_") {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null());
    command
}

/// The program of the same build as this one, which is a test or beside it; built if it is not there or older than its sources, which
/// happens when this crate is tested alone.
fn locate() -> PathBuf {
    let this = std::env::current_exe().unwrap();
    let dir = this.parent().expect("a program is in a directory");
    // Tests are built into target/PROFILE/deps.
    let profile = if dir.ends_with("deps") { dir.parent().expect("a profile's directory") } else { dir };
    let path = profile.join(format!("lapis{}", std::env::consts::EXE_SUFFIX));
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a crate of the workspace");
    let built = fs::metadata(&path).and_then(|file| file.modified());
    let sources = SOURCES.iter().map(|name| newest(&workspace.join(name).join("src"))).max();
    if built.is_ok_and(|built| Some(built) >= sources) {
        return path;
    }
    let profile_name = match profile.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(name) => name,
    };
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into()));
    cargo.current_dir(workspace).args(["build", "--package", "lapis-node", "--bin", "lapis"]);
    cargo.args(["--profile", profile_name, "--target-dir"]).arg(profile.parent().expect("the target directory"));
    assert!(cargo.status().unwrap().success(), "the program cannot be built: {cargo:?}");
    path
}

/// When the newest file below `dir` was changed.
fn newest(dir: &Path) -> SystemTime {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let changed = |path: PathBuf| {
        if path.is_dir() { newest(&path) } else { fs::metadata(path).unwrap().modified().unwrap() }
    };
    entries.map(changed).max().unwrap_or(SystemTime::UNIX_EPOCH)
}
