//! Guards against runtimes that come and go: a Locker has a connection in each, and what one of them leaves behind must
//! not hold up the others.

use std::time::Duration;

use redis_lock::{Guard, Locker};
use redis_lock_tests::{History, Server, eventually};
use tokio::runtime::{Builder, Runtime};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{sleep, timeout};

use crate::stage::{SOON, all_in_line, locker, nothing_is_left, waiters};

/// What is left of a runtime that has ended is given back: before the claim of one that is dead ends, after three seconds.
const FREED: Duration = Duration::from_secs(2);

fn another_runtime() -> Runtime {
    let mut runtime = Builder::new_multi_thread();
    runtime.worker_threads(1).enable_all().build().unwrap()
}

/// It must not be dropped within another one.
async fn end(runtime: Runtime) {
    spawn_blocking(move || drop(runtime)).await.unwrap();
}

async fn turns(locker: Locker, history: History) {
    for _ in 0..20 {
        let guard = locker.write("x").await.unwrap();
        let stay = history.write("x", guard.token());
        sleep(Duration::from_millis(1)).await;
        drop(stay);
        guard.unlock().await.unwrap();
    }
}

#[tokio::test]
async fn waiters_in_two_runtimes_take_turns() {
    let server = Server::start().await;
    let locker = locker(&server.url()).await;
    let other = another_runtime();
    let history = History::new();
    let mut tasks = JoinSet::new();
    for _ in 0..5 {
        tasks.spawn(turns(locker.clone(), history.clone()));
        tasks.spawn_on(turns(locker.clone(), history.clone()), other.handle());
    }
    while let Some(ended) = timeout(SOON, tasks.join_next()).await.expect("in time") {
        ended.unwrap();
    }
    assert_eq!(history.len(), 200);
    history.check();
    nothing_is_left(&server).await;
    end(other).await;
}

/// Its run is passed along, and some of it stand in line again, when there is nobody to take it any more.
#[tokio::test]
async fn a_runtime_that_ends_in_the_middle_of_a_run_frees_the_lock() {
    let server = Server::start().await;
    let locker = locker(&server.url()).await;
    let holder = locker.write("x").await.unwrap();
    let other = another_runtime();
    let (entered, mut has_entered) = tokio::sync::mpsc::unbounded_channel();
    for _ in 0..10 {
        let (locker, entered) = (locker.clone(), entered.clone());
        other.spawn(async move {
            let guard = locker.write("x").await.unwrap();
            entered.send(guard.token()).unwrap();
            sleep(Duration::from_millis(20)).await;
            guard.unlock().await.unwrap();
        });
    }
    all_in_line(&server, 10).await;
    let here = tokio::spawn(locker.write("x"));
    all_in_line(&server, 11).await;
    holder.unlock().await.unwrap();
    for _ in 0..3 {
        timeout(SOON, has_entered.recv()).await.unwrap().unwrap();
    }
    end(other).await;
    gets_in(here).await.unlock().await.unwrap();
    nothing_is_left(&server).await;
}

#[tokio::test]
async fn a_runtime_that_ends_with_waiters_in_line_frees_their_places() {
    let server = Server::start().await;
    let locker = locker(&server.url()).await;
    let holder = locker.write("x").await.unwrap();
    let other = another_runtime();
    for _ in 0..10 {
        other.spawn(locker.write("x"));
    }
    all_in_line(&server, 10).await;
    let here = tokio::spawn(locker.write("x"));
    all_in_line(&server, 11).await;
    end(other).await;
    eventually(FREED, "their places are free", async || {
        waiters(&server).await == 1
    })
    .await;
    holder.unlock().await.unwrap();
    gets_in(here).await.unlock().await.unwrap();
    nothing_is_left(&server).await;
}

/// Somebody may come to a runtime as it ends, for instance a thread that has a handle to it.
#[tokio::test]
async fn a_runtime_that_has_ended_holds_up_nobody_else() {
    let server = Server::start().await;
    let locker = locker(&server.url()).await;
    let other = another_runtime();
    let (handle, late) = (other.handle().clone(), locker.clone());
    end(other).await;
    // What becomes of this is not the subject: it has no runtime.
    std::thread::spawn(move || handle.block_on(late.write("late")).is_ok());
    // It may never come to anything that could be awaited; if it has not begun by then, this tests less.
    sleep(Duration::from_millis(300)).await;
    // Not in this thread, which would hang with it.
    let (done, is_done) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            locker.write("x").await.unwrap().unlock().await.unwrap();
        });
        let _ = done.send(());
    });
    timeout(SOON, is_done).await.expect("others go on").unwrap();
}

async fn gets_in(waiter: tokio::task::JoinHandle<Result<Guard, redis_lock::Error>>) -> Guard {
    let guard = timeout(FREED, waiter).await.expect("it gets in");
    guard.unwrap().unwrap()
}
