//! Waiting for a task that was started here: its fate is ours.

use tokio::task::JoinError;

/// What the task gives. If it panics, the panic goes on here. `None` if it was aborted, or the runtime is stopping.
pub(crate) async fn joined<T>(task: impl Future<Output = Result<T, JoinError>>) -> Option<T> {
    match task.await {
        Ok(output) => Some(output),
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_cancelled) => None,
        },
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;

    #[tokio::test]
    async fn what_it_gives_and_that_it_was_aborted() {
        assert_eq!(joined(tokio::spawn(async { 1 })).await, Some(1));
        let task = tokio::spawn(std::future::pending::<()>());
        task.abort();
        assert_eq!(joined(task).await, None);
    }

    #[tokio::test]
    #[should_panic(expected = "of the task")]
    async fn its_panic_is_ours() {
        joined(tokio::spawn(async { panic!("of the task") })).await.unwrap()
    }
}
