//! Tries `lapis` with execution clients that others wrote, and prints how it went.
//!
//! ```text
//! tests/interop/run target/debug/lapis --only "execution ethrex"
//! ```
//!
//! `tests/interop/run` builds and installs the clients and says in the environment where they are. Each case has clients
//! of its own and real `lapis run` processes. The exit code is 0 if all cases held, 1 if not, 2 without clients.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a case fails by panicking"
)]

mod calls;
mod cases;
mod chains;
mod devnet;
mod figures;

use std::{
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use clap::Parser;
use futures::{StreamExt as _, future::BoxFuture, stream};
use lapis_tests::execution::Programs;

/// Time for one case; a wait for one event ends earlier.
const LIMIT: Duration = Duration::from_secs(300);

/// Tries the program with execution clients that others wrote.
#[derive(Clone, Debug, Parser)]
struct Arguments {
    /// Run only the cases whose name contains this
    #[arg(long, default_value = "")]
    only: String,
    /// Cases at a time
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Measure, after the cases, and print a table
    #[arg(long)]
    figures: bool,
}

/// Something to try.
pub(crate) struct Case {
    name: String,
    run: BoxFuture<'static, ()>,
}

impl Case {
    /// A case that fails by panicking.
    pub(crate) fn new(name: impl Into<String>, run: impl Future<Output = ()> + Send + 'static) -> Self {
        Self { name: name.into(), run: Box::pin(run) }
    }

    /// Runs it and prints how it went; whether it held.
    async fn held(self) -> bool {
        let started = Instant::now();
        let mut task = tokio::spawn(self.run);
        let ended = tokio::time::timeout(LIMIT, &mut task).await;
        task.abort();
        let (word, why) = match ended {
            Ok(Ok(())) => ("ok  ", String::new()),
            Ok(Err(error)) => ("FAIL", format!(": {error}")),
            Err(_) => ("FAIL", format!(": not done after {LIMIT:?}")),
        };
        println!("{word}  execution {} ({:.1} s){why}", self.name, started.elapsed().as_secs_f64());
        why.is_empty()
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let programs = match Programs::from_env() {
        Ok(programs) => programs,
        Err(error) => {
            eprintln!("execution_clients: {error}");
            return ExitCode::from(2);
        }
    };
    let started = Instant::now();
    let chains = Arc::new(chains::Chains::new(programs));
    let all = [calls::all(&chains), cases::all(&chains), devnet::all(&chains)].into_iter().flatten();
    let chosen = all.filter(|case| format!("execution {}", case.name).contains(&arguments.only));
    let held: Vec<bool> = stream::iter(chosen).map(Case::held).buffer_unordered(arguments.jobs.max(1)).collect().await;
    let (mut run, mut failed) = (held.len(), held.iter().filter(|held| !**held).count());
    if arguments.figures {
        run += 1;
        failed += usize::from(!Case::new("figures", figures::print(Arc::clone(&chains))).held().await);
    }
    println!("\n{run} cases with execution clients, {failed} failed, {:.0} s", started.elapsed().as_secs_f64());
    ExitCode::from(u8::from(failed > 0 || run == 0))
}
