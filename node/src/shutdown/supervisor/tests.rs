#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::{convert::Infallible, io, sync::Mutex};

use super::*;

const DRAIN: Duration = Duration::from_secs(30);

fn supervisor() -> Supervisor {
    Supervisor::new(CancellationToken::new())
}

async fn until_stopped(stop: CancellationToken) -> Result<(), Infallible> {
    stop.cancelled().await;
    Ok(())
}

#[tokio::test]
async fn a_requested_stop_is_a_success() {
    let mut supervisor = supervisor();
    supervisor.spawn(Stage::Work, "verify", until_stopped);
    supervisor.stop_token().cancel();
    supervisor.run(DRAIN).await.unwrap();
}

#[tokio::test]
async fn a_panic_stops_the_others_and_is_named() {
    let mut supervisor = supervisor();
    let stop = supervisor.stop_token();
    supervisor.spawn(Stage::Outside, "http", until_stopped);
    supervisor.spawn(Stage::Work, "import", |_| async {
        if true {
            panic!("height 7");
        }
        Ok::<_, Infallible>(())
    });
    let failure = supervisor.run(DRAIN).await.unwrap_err();
    assert_eq!(failure.to_string(), "task import panicked: height 7");
    assert!(stop.is_cancelled());
}

#[tokio::test]
async fn an_error_is_kept_as_the_source() {
    let mut supervisor = supervisor();
    supervisor.spawn(Stage::Work, "writer", |_| async { Err(io::Error::other("disk full")) });
    let failure = supervisor.run(DRAIN).await.unwrap_err();
    assert_eq!(failure.to_string(), "task writer failed");
    assert_eq!(failure.source().unwrap().to_string(), "disk full");
}

#[tokio::test]
async fn a_blocking_task_is_supervised_too() {
    let mut supervisor = supervisor();
    supervisor.spawn_blocking(Stage::Work, "kzg", |_| Err(io::Error::other("no setup")));
    let failure = supervisor.run(DRAIN).await.unwrap_err();
    assert_eq!(failure.to_string(), "task kzg failed");
}

#[tokio::test]
async fn a_task_that_just_ends_is_a_failure() {
    let mut supervisor = supervisor();
    supervisor.spawn(Stage::Intake, "follow", |_| async { Ok::<_, Infallible>(()) });
    let failure = supervisor.run(DRAIN).await.unwrap_err();
    assert!(matches!(failure, TaskFailure::Ended { task: "follow" }));
}

#[tokio::test]
async fn the_first_of_several_failures_is_the_result() {
    let mut supervisor = supervisor();
    supervisor.spawn(Stage::Intake, "first", |_| async { Err(io::Error::other("cause")) });
    supervisor.spawn(Stage::Outside, "second", |stop| async move {
        stop.cancelled().await;
        Err(io::Error::other("consequence"))
    });
    let failure = supervisor.run(DRAIN).await.unwrap_err();
    assert!(matches!(failure, TaskFailure::Failed { task: "first", .. }));
}

#[tokio::test]
async fn stages_stop_one_after_another() {
    static ENDED: Mutex<Vec<Stage>> = Mutex::new(Vec::new());
    let mut supervisor = supervisor();
    for stage in [Stage::Outside, Stage::Work, Stage::Intake] {
        supervisor.spawn(stage, "task", move |stop| async move {
            stop.cancelled().await;
            tokio::task::yield_now().await;
            ENDED.lock().unwrap().push(stage);
            Ok::<_, Infallible>(())
        });
    }
    supervisor.stop_token().cancel();
    supervisor.run(DRAIN).await.unwrap();
    assert_eq!(*ENDED.lock().unwrap(), Stage::ALL);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_ignores_the_stop_is_named_at_the_deadline() {
    let mut supervisor = supervisor();
    supervisor.spawn(Stage::Intake, "deaf", |_| std::future::pending::<Result<(), Infallible>>());
    supervisor.spawn(Stage::Outside, "network", until_stopped);
    supervisor.stop_token().cancel();
    let failure = supervisor.run(DRAIN).await.unwrap_err();
    assert_eq!(failure.to_string(), "still running after 30s: deaf, network");
}
