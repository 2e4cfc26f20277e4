//! Ending well: `shutdown` and `flush` leave no lock behind, and end in time.

use std::future::pending;
use std::time::Duration;

use redis_lock::{Error, Guard, Locker, Loss, Mode, Wait, redis_lock, with_locker};
use redis_lock_tests::Server;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::stage::{LONG, SOON, enqueue, locker, nothing_is_left, poll_times, soon};

/// What a busy machine takes for what needs no time.
const SLACK: Duration = Duration::from_secs(1);

async fn is_gone(server: &Server) -> bool {
    // The floor for tokens is there for a few milliseconds, and says that the lock is free.
    let mut held = server.keys().await;
    held.retain(|name| !name.contains(":#g"));
    held.is_empty()
}

#[tokio::test]
async fn new_locks_are_refused_and_waiters_are_told_at_once() {
    let server = Server::start().await;
    let locker = locker(&server.url()).await;
    let other = crate::stage::locker(&server.url()).await;
    let held = other.write("x").await.unwrap();
    let mine = locker.write("y").await.unwrap();
    let mut waiters = Vec::new();
    for (key, wait) in [
        ("x", Wait::For(LONG)),
        ("x", Wait::Forever),
        ("y", Wait::Forever),
    ] {
        for mode in [Mode::Write, Mode::Read] {
            let waiting = locker.clone().wait(wait).mode(mode).lock(key);
            waiters.push(enqueue(&server, waiting).await);
        }
    }
    let several = enqueue(
        &server,
        locker.clone().wait(Wait::Forever).lock_all(["a", "x"]),
    )
    .await;
    let shutting = tokio::spawn({
        let locker = locker.clone();
        async move { locker.shutdown(LONG).await }
    });
    for waiter in waiters {
        assert_shut_down(soon(waiter).await);
    }
    assert!(matches!(soon(several).await, Err(Error::ShutDown { .. })));
    assert_shut_down(locker.write("new").await);
    assert_shut_down(
        locker
            .clone()
            .namespace("other")
            .mode(Mode::R)
            .lock("new")
            .await,
    );
    assert!(matches!(
        locker.try_lock("new").await,
        Err(Error::ShutDown { .. })
    ));
    let body = locker.lock_exec("new", async { Ok::<_, Error>(()) }).await;
    assert!(matches!(body, Err(Error::ShutDown { .. })));
    // A holder has its time, and it is over as soon as nothing is held.
    assert!(!mine.is_lost() && !shutting.is_finished());
    mine.unlock().await.unwrap();
    let shutdown = soon(shutting).await;
    assert!(
        shutdown.is_complete() && shutdown.interrupted == 0,
        "{shutdown}"
    );
    held.unlock().await.unwrap();
    nothing_is_left(&server).await;
    // Another Locker of the process has nothing to do with it.
    other.write("x").await.unwrap().unlock().await.unwrap();
}

#[track_caller]
fn assert_shut_down(outcome: Result<Guard, Error>) {
    let error = outcome.expect_err("it is shut down");
    assert!(error.is_shut_down(), "{error}");
}

#[redis_lock(key = "body")]
async fn never_ends() -> Result<(), Error> {
    pending().await
}

#[tokio::test]
async fn holders_that_keep_their_locks_are_told_after_the_grace_and_everything_is_given_back() {
    const GRACE: Duration = Duration::from_millis(400);
    let server = Server::start().await;
    let locker = locker(&server.url()).await;
    let writer = locker.write("w").await.unwrap();
    let readers = [
        locker.read("r").await.unwrap(),
        locker.read("r").await.unwrap(),
    ];
    std::mem::forget(
        locker
            .clone()
            .auto_extend(false)
            .write("forgotten")
            .await
            .unwrap(),
    );
    let body = tokio::spawn(with_locker(locker.clone(), never_ends()));
    let exec = tokio::spawn(locker.lock_exec("exec", pending::<Result<(), Error>>()));
    let rival = crate::stage::locker(&server.url()).await;
    let waiting = enqueue(&server, rival.write("w")).await;
    redis_lock_tests::eventually(SOON, "six are held", async || {
        let names = server.keys().await;
        names.iter().filter(|name| name.contains(":#g")).count() == 5
    })
    .await;
    let started = Instant::now();
    let shutting = locker.shutdown(GRACE);
    tokio::pin!(shutting);
    let early = timeout(GRACE / 2, &mut shutting).await;
    assert!(early.is_err() && !writer.is_lost());
    let shutdown = shutting.await;
    assert!(started.elapsed() >= GRACE && started.elapsed() < GRACE + SLACK + SLACK);
    assert_eq!(shutdown.interrupted, 6, "{shutdown}");
    assert!(shutdown.is_complete(), "{shutdown}");
    assert_eq!(writer.loss(), Some(Loss::ShutDown));
    assert!(
        readers
            .iter()
            .all(|reader| reader.loss() == Some(Loss::ShutDown))
    );
    for outcome in [soon(body).await, soon(exec).await] {
        let Err(Error::Lost { why, .. }) = outcome else {
            panic!("{outcome:?}")
        };
        assert_eq!(why, Loss::ShutDown);
    }
    soon(waiting).await.unwrap().unlock().await.unwrap();
    assert!(is_gone(&server).await);
    assert!(writer.unlock().await.is_err_and(|error| error.is_lost()));
}

#[tokio::test]
async fn nothing_is_left_the_moment_that_it_returns() {
    for _ in 0..5 {
        let server = Server::start().await;
        let locker = locker(&server.url()).await;
        let rival = crate::stage::locker(&server.url()).await;
        for number in 0..50 {
            drop(locker.write(format!("dropped:{number}")).await.unwrap());
            std::mem::forget(locker.write(format!("held:{number}")).await.unwrap());
        }
        let shutdown = locker.shutdown(Duration::ZERO).await;
        assert!(shutdown.is_complete(), "{shutdown}");
        for number in 0..50 {
            for key in [format!("dropped:{number}"), format!("held:{number}")] {
                let guard = rival.try_write(&key).await.unwrap();
                guard.expect("it is free").unlock().await.unwrap();
            }
        }
    }
}

#[tokio::test]
async fn it_ends_in_time_and_says_what_is_left_where_redis_is_gone() {
    let server = Server::start().await;
    let locker = locker(&server.url()).await;
    let _kept = locker.write("kept").await.unwrap();
    let dropped = locker.write("dropped").await.unwrap();
    server.pause().await;
    drop(dropped);
    let started = Instant::now();
    assert!(!locker.flush().await, "it cannot be");
    assert!(started.elapsed() < SLACK + SLACK, "{:?}", started.elapsed());
    let started = Instant::now();
    let shutdown = locker.shutdown(Duration::from_millis(100)).await;
    assert!(started.elapsed() < SLACK + SLACK, "{:?}", started.elapsed());
    assert!(!shutdown.is_complete());
    assert_eq!(
        shutdown.left,
        ["dropped", "kept"].map(redis_lock::Key::from)
    );
    let text = shutdown.to_string();
    assert!(
        text.contains("2 locks end with their ttl") && text.contains("\"kept\""),
        "{text}"
    );
    server.resume();
    nothing_is_left(&server).await;
}

#[tokio::test]
async fn it_may_be_called_at_the_same_time_again_and_be_dropped() {
    let server = Server::start().await;
    let locker = locker(&server.url()).await;
    let guard = locker.write("x").await.unwrap();
    assert!(poll_times(2, locker.shutdown(LONG)).await.is_none());
    assert_shut_down(locker.write("y").await);
    assert!(!guard.is_lost(), "its holder has its time");
    let mut calls = JoinSet::new();
    for grace in [Duration::from_millis(100), LONG, LONG] {
        let locker = locker.clone();
        calls.spawn(async move { locker.shutdown(grace).await });
    }
    let all = timeout(SOON, calls.join_all())
        .await
        .expect("the shortest ends all");
    assert!(all.iter().all(redis_lock::Shutdown::is_complete), "{all:?}");
    assert_eq!(guard.loss(), Some(Loss::ShutDown));
    assert!(locker.shutdown(LONG).await.is_complete());
}

#[tokio::test]
async fn called_within_a_body_it_ends_after_the_grace() {
    let server = Server::start().await;
    let locker = locker(&server.url()).await;
    let within = locker.clone();
    let outcome = locker.lock_exec("x", async move {
        let nested = within.lock_exec("x", async { Ok::<_, Error>(1) });
        let shutdown = within.shutdown(Duration::from_millis(200));
        let (nested, _) = tokio::join!(nested, shutdown);
        assert!(nested.is_ok(), "a body may go on during the grace");
        Ok::<_, Error>(())
    });
    let outcome = timeout(SOON, outcome).await.expect("it ends");
    assert!(
        matches!(
            outcome,
            Err(Error::Lost {
                why: Loss::ShutDown,
                ..
            })
        ),
        "{outcome:?}"
    );
    nothing_is_left(&server).await;
}

#[tokio::test]
async fn flush_waits_for_what_was_dropped() {
    let server = Server::start().await;
    let locker = locker(&server.url()).await;
    let rival = crate::stage::locker(&server.url()).await;
    let mut guards = Vec::new();
    for number in 0..200 {
        guards.push(locker.write(format!("x{number}")).await.unwrap());
    }
    let kept = locker.write("kept").await.unwrap();
    drop(guards);
    assert!(locker.flush().await);
    for number in 0..200 {
        let guard = rival.try_write(format!("x{number}")).await.unwrap();
        guard.expect("it is free").unlock().await.unwrap();
    }
    assert!(!kept.is_lost());
    kept.unlock().await.unwrap();
    let _: Locker = locker;
}
