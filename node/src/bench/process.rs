//! The bench's end of a process of its own: starts it, gives it its job, reads its answers, and never leaves it behind.

use std::{path::Path, process::Stdio, time::Duration};

use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout,
};

use super::{
    error::{BenchError, ProcessFault},
    job::{Job, line},
};

/// The command that makes this program one of the bench's processes.
pub const WORKER_COMMAND: &str = "bench-worker";
/// Most bytes of an answer.
const MAX_ANSWER: u64 = 64 * 1024;
/// What a process may take beside its work: loading the trusted setup, opening and syncing a store, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running process; killed when this is dropped.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    role: &'static str,
}

impl Process {
    /// Starts `program` with a job; `role` says what it is to do, after "should".
    pub(super) async fn start(program: &Path, role: &'static str, job: &Job) -> Result<Self, BenchError> {
        let failed = |fault| BenchError::Process { role, fault };
        let spawned = Command::new(program)
            .arg(WORKER_COMMAND)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn();
        let mut child = spawned.map_err(|error| failed(error.into()))?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(failed(ProcessFault::Ended));
        };
        let mut process = Self { child, input, output: BufReader::new(output), role };
        process.say(&line(job).map_err(failed)?).await?;
        Ok(process)
    }

    /// Sends a question and reads the answer, which may take `work` beside what every process takes.
    pub(super) async fn ask<T: DeserializeOwned>(
        &mut self,
        question: &impl Serialize,
        work: Duration,
    ) -> Result<T, BenchError> {
        let role = self.role;
        self.say(&line(question).map_err(|fault| BenchError::Process { role, fault })?).await?;
        self.answer(work).await
    }

    /// The next answer, which may take `work` beside what every process takes.
    pub(super) async fn answer<T: DeserializeOwned>(&mut self, work: Duration) -> Result<T, BenchError> {
        let role = self.role;
        let read = timeout(PATIENCE.saturating_add(work), self.read_line()).await;
        let line = read.unwrap_or(Err(ProcessFault::Silent)).map_err(|fault| BenchError::Process { role, fault })?;
        serde_json::from_str(&line).map_err(|error| BenchError::Process { role, fault: error.into() })
    }

    /// Tells it to end, and waits until it has.
    pub(super) async fn stop(self) -> Result<(), BenchError> {
        let Self { mut child, input, output, role } = self;
        drop(input);
        let ended = timeout(PATIENCE, child.wait()).await;
        drop(output);
        match ended {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(BenchError::Process { role, fault: error.into() }),
            Err(_) => Err(BenchError::Process { role, fault: ProcessFault::Silent }),
        }
    }

    async fn say(&mut self, line: &str) -> Result<(), BenchError> {
        let role = self.role;
        let written = self.input.write_all(line.as_bytes()).await;
        written.map_err(|error| BenchError::Process { role, fault: error.into() })
    }

    async fn read_line(&mut self) -> Result<String, ProcessFault> {
        let mut line = String::new();
        let read = (&mut self.output).take(MAX_ANSWER).read_line(&mut line).await?;
        if read == 0 { Err(ProcessFault::Ended) } else { Ok(line) }
    }
}
