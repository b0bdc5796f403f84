//! A directory to try things in, and how the program is run there.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use tempfile::TempDir;

/// The program with `words` as arguments and none of our variables in its environment.
pub(crate) fn lapis(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lapis"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("LAPIS_") {
            command.env_remove(name);
        }
    }
    command.args(words).stdin(Stdio::null());
    command
}

/// A directory with a genesis file, removed at the end.
pub(crate) struct Place(TempDir);

impl Place {
    /// A genesis that is right.
    pub(crate) const GENESIS: &str = r#"{
        "chain_id": "example-1",
        "genesis_time": 1,
        "max_blobs_per_block": 6,
        "blob_retention_heights": 1000,
        "validators": [
            { "public_key": "0x1111111111111111111111111111111111111111111111111111111111111111", "power": 1 }
        ],
        "execution_block_hash": "0x2222222222222222222222222222222222222222222222222222222222222222",
        "cancun_time": 0,
        "prague_time": 0
    }"#;

    pub(crate) fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        fs::write(place.path("chain.json"), Self::GENESIS).unwrap();
        place
    }

    /// Path of something in it.
    pub(crate) fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    /// Path of the node's directory.
    pub(crate) fn node(&self) -> String {
        self.path("node")
    }

    /// Makes the node's directory; what the program says.
    pub(crate) fn init(&self) -> String {
        self.succeed(&["init", "--dir", &self.node(), "--genesis", &self.path("chain.json")])
    }

    /// Replaces the node's configuration.
    pub(crate) fn set_config(&self, text: &str) {
        fs::write(format!("{}/config.toml", self.node()), text).unwrap();
    }

    /// Standard output of a command that must succeed.
    pub(crate) fn succeed(&self, words: &[&str]) -> String {
        let output = lapis(words).output().unwrap();
        let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
        assert_eq!(output.status.code(), Some(0), "{words:?}: {err}");
        out
    }

    /// The line with which bad input is refused.
    pub(crate) fn refused(&self, words: &[&str]) -> String {
        self.refused_by(&mut lapis(words))
    }

    /// The same for a command with an environment of its own.
    pub(crate) fn refused_by(&self, command: &mut Command) -> String {
        self.fails_with(command, 2)
    }

    /// Runs a command that must fail with `code`, say why on one line, and change nothing here.
    pub(crate) fn fails_with(&self, command: &mut Command, code: i32) -> String {
        let before = snapshot(self.0.path());
        let output = command.output().unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{command:?}: {err}");
        assert_eq!(err.lines().count(), 1, "{command:?}: {err}");
        assert!(output.stdout.is_empty(), "{command:?}: {}", String::from_utf8_lossy(&output.stdout));
        assert_eq!(snapshot(self.0.path()), before, "{command:?} changed something on disk");
        err
    }
}

/// Every path below `root`, files with their content.
fn snapshot(root: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(snapshot(&path));
            found.insert(path, None);
        } else {
            let content = fs::read(&path).unwrap();
            found.insert(path, Some(content));
        }
    }
    found
}
