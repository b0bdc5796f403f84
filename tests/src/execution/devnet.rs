//! `lapis devnet` as a process, with clients that build its blocks.

use std::{process::Stdio, time::Duration};

use crate::{execution::ExecutionClient, program::bare_command};

/// A run of `lapis devnet`.
#[derive(Clone, Copy, Debug)]
pub struct Devnet {
    /// Validators, each with a node; two nodes follow.
    pub validators: usize,
    /// Heights.
    pub heights: u64,
    /// Blobs of each height.
    pub blobs: u64,
    /// Least time between two heights.
    pub block_time: Duration,
}

/// It did not end well.
#[derive(Clone, Debug)]
pub struct DevnetFailure {
    /// Its exit code.
    pub code: Option<i32>,
    /// What it wrote to standard error.
    pub errors: String,
}

impl Devnet {
    /// Runs it to its end, and gives what it printed.
    ///
    /// # Errors
    /// [`DevnetFailure`] if its exit code is not 0.
    pub async fn run(self, clients: &[&ExecutionClient]) -> Result<String, DevnetFailure> {
        let mut command = bare_command();
        command.args(["devnet", "--block-time", &format!("{}ms", self.block_time.as_millis())]);
        command.args(["--validators", &self.validators.to_string(), "--heights", &self.heights.to_string()]);
        command.args(["--blobs", &self.blobs.to_string()]);
        for client in clients {
            command.args(["--engine-url", &client.engine_url()]).arg("--jwt-secret").arg(client.jwt_secret());
        }
        if let Some(client) = clients.first() {
            command.arg("--execution-genesis").arg(client.genesis());
        }
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let output = tokio::process::Command::from(command).kill_on_drop(true).output().await.unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() {
            return Ok(text(&output.stdout));
        }
        let errors = format!("{}{}", text(&output.stdout), text(&output.stderr));
        Err(DevnetFailure { code: output.status.code(), errors })
    }
}
