//! What a process of the bench does: its job, and nothing after its standard input has ended.

use std::{
    io::{self, BufRead, Write},
    sync::Arc,
};

use lapis_protocol_spec::Kzg;
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::mpsc;

use super::{
    client,
    error::{BenchError, ProcessFault},
    job::{Job, Usage, UsageQuestion, line},
    server::Server,
};
use crate::usage;

/// Lines that wait to be answered.
const QUEUE: usize = 1;

/// The lines of standard input, the job first.
#[derive(Debug)]
pub struct WorkerInput(mpsc::Receiver<String>);

impl WorkerInput {
    /// Reads standard input from now on. The thread ends with it, or with the process.
    #[must_use]
    pub fn standard() -> Self {
        let (lines, receiver) = mpsc::channel(QUEUE);
        std::thread::spawn(move || {
            for line in io::stdin().lock().lines().map_while(Result::ok) {
                if lines.blocking_send(line).is_err() {
                    return;
                }
            }
        });
        Self(receiver)
    }

    async fn next(&mut self) -> Option<String> {
        self.0.recv().await
    }
}

/// Reads a job and does it.
///
/// # Errors
/// [`BenchError`].
pub async fn work(mut input: WorkerInput) -> Result<(), BenchError> {
    let job = input.next().await.ok_or(failed(ProcessFault::Ended))?;
    match parse(&job)? {
        Job::Serve(job) => {
            let server = Server::start(&job).await?;
            say(&server.serving)?;
            while let Some(question) = input.next().await {
                let UsageQuestion = parse(&question)?;
                say(&Usage { cpu: usage::process_cpu() })?;
            }
            Ok(())
        }
        Job::CatchUp => {
            let kzg = tokio::task::spawn_blocking(|| Kzg::mainnet().map(Arc::new)).await??;
            while let Some(job) = input.next().await {
                let job = parse(&job)?;
                tokio::select! {
                    outcome = client::run(&job, &kzg) => say(&outcome?)?,
                    // One job at a time: there is nothing to read but the end.
                    _ = input.next() => return Err(BenchError::Interrupted),
                }
            }
            Ok(())
        }
    }
}

fn failed(fault: ProcessFault) -> BenchError {
    BenchError::Process { role: "work", fault }
}

fn parse<T: DeserializeOwned>(line: &str) -> Result<T, BenchError> {
    serde_json::from_str(line).map_err(|error| failed(error.into()))
}

fn say(answer: &impl Serialize) -> Result<(), BenchError> {
    let line = line(answer).map_err(failed)?;
    let mut output = io::stdout().lock();
    output.write_all(line.as_bytes()).and_then(|()| output.flush()).map_err(|error| failed(error.into()))
}
