//! Named tasks that live and stop together.

use std::{collections::HashMap, error::Error, future::Future, time::Duration};

use tokio::{
    task::{Id, JoinError, JoinSet},
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;

/// What a task fails with.
pub type TaskError = Box<dyn Error + Send + Sync>;

/// When a task is asked to stop, relative to the others. Each stage is asked once the one before it has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Brings work in: block production, scheduling of requests, retention timers.
    Intake,
    /// Finishes the work that is under way: verification, writing, import.
    Work,
    /// Tells the outside: the network (goodbye to peers) and HTTP.
    Outside,
}

impl Stage {
    /// In the order of stopping.
    pub const ALL: [Self; 3] = [Self::Intake, Self::Work, Self::Outside];
}

/// Why the node went down.
#[derive(Debug, thiserror::Error)]
pub enum TaskFailure {
    /// A task returned an error.
    #[error("task {task} failed")]
    Failed {
        /// Name of the task.
        task: &'static str,
        /// What it returned.
        source: TaskError,
    },
    /// A task panicked.
    #[error("task {task} panicked: {message}")]
    Panicked {
        /// Name of the task.
        task: &'static str,
        /// The panic's message.
        message: String,
    },
    /// A task ended although nobody had asked it to.
    #[error("task {task} ended before it was asked to")]
    Ended {
        /// Name of the task.
        task: &'static str,
    },
    /// Tasks did not end in the time that a stop may take.
    #[error("still running after {}: {}", humantime::format_duration(*.drain), .tasks.join(", "))]
    Deadline {
        /// Names of the tasks, sorted.
        tasks: Vec<&'static str>,
        /// The time that they had.
        drain: Duration,
    },
}

/// Owner of the node's long tasks. Dropping it aborts the asynchronous ones.
#[derive(Debug)]
pub struct Supervisor {
    stop: CancellationToken,
    stages: HashMap<Stage, CancellationToken>,
    tasks: JoinSet<Result<(), TaskError>>,
    running: HashMap<Id, (Stage, &'static str)>,
}

impl Supervisor {
    /// A supervisor without tasks. Cancelling `stop` (a signal does) begins the stop.
    pub fn new(stop: CancellationToken) -> Self {
        let stages = Stage::ALL.map(|stage| (stage, CancellationToken::new())).into();
        Self { stop, stages, tasks: JoinSet::new(), running: HashMap::new() }
    }

    /// The token that begins the stop of everything.
    pub fn stop_token(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// The token that a task of `stage` gets, for handing on to what the task is built from.
    pub fn stage_token(&self, stage: Stage) -> CancellationToken {
        // Every stage is in the map; a token that is never cancelled would only delay a stop until its deadline.
        self.stages.get(&stage).cloned().unwrap_or_default()
    }

    /// Starts an asynchronous task. It must run until its token is cancelled, and end soon after.
    pub fn spawn<F, E>(&mut self, stage: Stage, name: &'static str, task: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<TaskError>,
    {
        let future = task(self.stage_token(stage));
        let handle = self.tasks.spawn(async move { future.await.map_err(Into::into) });
        self.running.insert(handle.id(), (stage, name));
    }

    /// Starts a task on a thread where it may block. The same rules hold; it cannot be aborted, so it must look at its
    /// token (or at a channel that closes) between short steps.
    pub fn spawn_blocking<F, E>(&mut self, stage: Stage, name: &'static str, task: F)
    where
        F: FnOnce(CancellationToken) -> Result<(), E> + Send + 'static,
        E: Into<TaskError>,
    {
        let stop = self.stage_token(stage);
        let handle = self.tasks.spawn_blocking(move || task(stop).map_err(Into::into));
        self.running.insert(handle.id(), (stage, name));
    }

    /// Runs until a stop is asked for or a task fails, then stops the stages one after another, all of them within
    /// `drain`; what still runs then is aborted.
    ///
    /// # Errors
    /// The first [`TaskFailure`]. Later ones are logged.
    pub async fn run(mut self, drain: Duration) -> Result<(), TaskFailure> {
        let mut first = self.watch().await.err();
        self.stop.cancel();
        let deadline = Instant::now() + drain;
        for stage in Stage::ALL {
            self.stage_token(stage).cancel();
            while self.has_tasks(stage) {
                match timeout_at(deadline, self.tasks.join_next_with_id()).await {
                    Ok(Some(joined)) => report(&mut first, self.settle(joined, true)),
                    Ok(None) => break,
                    Err(_) => {
                        report(&mut first, Err(self.overdue(drain)));
                        return first.map_or(Ok(()), Err);
                    }
                }
            }
        }
        first.map_or(Ok(()), Err)
    }

    /// Waits for the request to stop, or for the first task that ends.
    async fn watch(&mut self) -> Result<(), TaskFailure> {
        tokio::select! {
            () = self.stop.cancelled() => Ok(()),
            Some(joined) = self.tasks.join_next_with_id() => self.settle(joined, false),
        }
    }

    fn has_tasks(&self, stage: Stage) -> bool {
        self.running.values().any(|(of, _)| *of == stage)
    }

    /// Aborts what is left and names it.
    fn overdue(&mut self, drain: Duration) -> TaskFailure {
        let mut tasks: Vec<_> = self.running.drain().map(|(_, (_, name))| name).collect();
        tasks.sort_unstable();
        self.tasks.abort_all();
        TaskFailure::Deadline { tasks, drain }
    }

    fn settle(
        &mut self,
        joined: Result<(Id, Result<(), TaskError>), JoinError>,
        asked: bool,
    ) -> Result<(), TaskFailure> {
        let id = joined.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
        let task = self.running.remove(&id).map_or("unnamed", |(_, name)| name);
        match joined {
            Ok((_, Ok(()))) if asked => Ok(()),
            Ok((_, Ok(()))) => Err(TaskFailure::Ended { task }),
            Ok((_, Err(source))) => Err(TaskFailure::Failed { task, source }),
            Err(error) if error.is_panic() => {
                Err(TaskFailure::Panicked { task, message: panic_message(error.into_panic().as_ref()) })
            }
            // Only `overdue` aborts, and nothing is joined after it.
            Err(_) => Err(TaskFailure::Ended { task }),
        }
    }
}

/// Keeps the first failure as the result and logs the others, so that none is lost.
fn report(first: &mut Option<TaskFailure>, outcome: Result<(), TaskFailure>) {
    let Err(failure) = outcome else { return };
    if first.is_none() {
        *first = Some(failure);
    } else {
        tracing::error!(error = &failure as &dyn Error, "another task failed during the stop");
    }
}

fn panic_message(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message").to_owned()
}

#[cfg(test)]
mod tests;
