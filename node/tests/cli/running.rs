//! A node that runs.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, ChildStderr, Command, Stdio},
};

use serde_json::Value;

use crate::place::lapis;

/// The process and where it answers. Killed when it is dropped.
pub(crate) struct Running {
    child: Child,
    log: BufReader<ChildStderr>,
    started: Value,
}

impl Running {
    /// Arguments of a node in `dir` that takes any free ports of the loopback interface.
    pub(crate) fn words(dir: &str) -> [&str; 7] {
        ["run", "--dir", dir, "--listen", "/ip4/127.0.0.1/tcp/0", "--http", "127.0.0.1:0"]
    }

    /// Starts a node and waits until it says that it has started.
    pub(crate) fn start(dir: &str) -> Self {
        Self::start_with(dir, &[])
    }

    /// The same with `settings`, variables and their values.
    pub(crate) fn start_with(dir: &str, settings: &[(&str, &str)]) -> Self {
        let mut command = lapis(&Self::words(dir));
        command.env("LAPIS_LOG__FORMAT", "json").envs(settings.iter().copied()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let started = loop {
            let mut line = String::new();
            assert_ne!(log.read_line(&mut line).unwrap(), 0, "the node ended before it started");
            let event: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line}"));
            if event["message"] == "node started" {
                break event;
            }
        };
        Self { child, log, started }
    }

    /// Where HTTP answers.
    pub(crate) fn http(&self) -> &str {
        self.started["http"].as_str().unwrap()
    }

    /// Where administration answers.
    pub(crate) fn admin(&self) -> &str {
        self.started["admin"].as_str().unwrap()
    }

    /// What it said when it had started.
    pub(crate) fn log_of_start(&self) -> &Value {
        &self.started
    }

    /// Sends SIGTERM and waits for the end; the exit code.
    pub(crate) fn stop(mut self) -> Option<i32> {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        // The pipe is read to its end, so that the node never waits for it.
        let rest: Vec<_> = self.log.by_ref().lines().map_while(Result::ok).collect();
        let code = self.child.wait().unwrap().code();
        assert_eq!(code, Some(0), "{rest:#?}");
        code
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended already, unless a test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
