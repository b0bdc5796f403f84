//! What a process of the bench does: one job, and nothing after its standard input has ended.

use std::io::{self, BufRead, Write};

use tokio::sync::mpsc;

use super::{
    client,
    error::{BenchError, ProcessFault},
    job::{Job, Usage, line},
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
    let failed = |fault| BenchError::Process { role: "work", fault };
    let job = input.next().await.ok_or(failed(ProcessFault::Ended))?;
    match serde_json::from_str(&job).map_err(|error| failed(error.into()))? {
        Job::Serve(job) => {
            let server = Server::start(&job).await?;
            say(&server.serving).map_err(failed)?;
            while input.next().await.is_some() {
                say(&Usage { cpu: usage::process_cpu() }).map_err(failed)?;
            }
            Ok(())
        }
        Job::Sync(job) => tokio::select! {
            outcome = client::run(&job) => say(&outcome?).map_err(failed),
            None = input.next() => Err(BenchError::Interrupted),
        },
    }
}

fn say(answer: &impl serde::Serialize) -> Result<(), ProcessFault> {
    let mut output = io::stdout().lock();
    output.write_all(line(answer)?.as_bytes())?;
    Ok(output.flush()?)
}
