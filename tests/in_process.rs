//! Locks without a server: the same as with one, also by a paused clock.

use std::{future::pending, io, time::Duration};

use redis_lock::{Error, InProcess, Locker, Loss, redis_lock, with_locker};
use tokio::{
    task::{JoinSet, yield_now},
    time::{Instant, sleep, timeout},
};

const HOUR: Duration = Duration::from_secs(3600);
const SECOND: Duration = Duration::from_secs(1);

fn refused() -> io::Error {
    io::ErrorKind::ConnectionRefused.into()
}

#[tokio::test(start_paused = true)]
async fn who_comes_first_is_served_first_with_rising_tokens() {
    let store = InProcess::new();
    let lockers = [store.locker(), store.locker(), store.locker()];
    let first = lockers[0].write("x").await.unwrap();
    let mut last = first.token();
    let mut line = JoinSet::new();
    for number in 0..30 {
        let locker = lockers[number % 3].clone().wait(HOUR);
        line.spawn(async move {
            let guard = locker.write("x").await.unwrap();
            let token = guard.token();
            sleep(SECOND).await;
            guard.unlock().await.unwrap();
            (number, token)
        });
        yield_now().await;
    }
    let started = Instant::now();
    first.unlock().await.unwrap();
    for expected in 0..30 {
        let (number, token) = line.join_next().await.unwrap().unwrap();
        assert_eq!(number, expected);
        assert!(token > last);
        last = token;
    }
    // Each is woken at once.
    assert_eq!(started.elapsed(), 30 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn readers_share_and_a_writer_in_line_stops_later_readers() {
    let store = InProcess::new();
    let (ours, theirs) = (store.locker(), store.locker());
    let reader = ours.read("x").await.unwrap();
    let other = theirs.read("x").await.unwrap();
    let writer = tokio::spawn({
        let locker = theirs.clone();
        async move { locker.write("x").await.unwrap().unlock().await.unwrap() }
    });
    yield_now().await;
    assert!(ours.try_read("x").await.unwrap().is_none());
    reader.unlock().await.unwrap();
    other.unlock().await.unwrap();
    writer.await.unwrap();
    assert!(ours.try_read("x").await.unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_wait_ends_when_its_time_is_over_on_the_paused_clock() {
    let store = InProcess::new();
    let _holder = store.locker().write("x").await.unwrap();
    let started = Instant::now();
    let error = store.locker().wait(HOUR).write("x").await.unwrap_err();
    let took = started.elapsed();
    assert!(took >= HOUR && took < HOUR + SECOND, "{took:?}");
    let Error::Contended { waited, .. } = error else {
        panic!("{error}");
    };
    assert!(waited >= HOUR && waited < HOUR + SECOND, "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn a_hold_is_renewed_for_as_long_as_the_paused_clock_goes() {
    let store = InProcess::new();
    let guard = store.locker().write("x").await.unwrap();
    sleep(HOUR).await;
    assert!(!guard.is_lost());
    assert!(store.locker().try_write("x").await.unwrap().is_none());
    assert!(!guard.is_lost(), "{:?}", guard.loss());
}

#[tokio::test(start_paused = true)]
async fn an_outage_that_is_longer_than_the_ttl_ends_a_hold_in_time() {
    let store = InProcess::new();
    let guard = store.locker().write("x").await.unwrap();
    sleep(SECOND).await;
    store.fail(refused());
    let since = Instant::now();
    guard.lost().await;
    let took = since.elapsed();
    assert!(took > 8 * SECOND && took < 10 * SECOND, "{took:?}");
    assert_eq!(guard.loss(), Some(Loss::Unreachable));
}

#[tokio::test(start_paused = true)]
async fn an_outage_that_is_shorter_than_the_ttl_ends_nothing() {
    let store = InProcess::new();
    let guard = store.locker().write("x").await.unwrap();
    let waiter = tokio::spawn({
        let locker = store.locker().wait(HOUR);
        async move { locker.write("x").await }
    });
    yield_now().await;
    store.fail(refused());
    sleep(5 * SECOND).await;
    store.recover();
    sleep(HOUR / 2).await;
    guard.unlock().await.unwrap();
    waiter.await.unwrap().unwrap().unlock().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_is_lost_goes_to_who_waits_for_it() {
    let store = InProcess::new();
    let guard = store.locker().write("x").await.unwrap();
    let scoped = store.locker().namespace("other").write("x").await.unwrap();
    let waiter = tokio::spawn({
        let locker = store.locker().wait(HOUR);
        async move { locker.write("x").await }
    });
    yield_now().await;
    let token = guard.token();
    store.lose("x");
    assert_eq!(guard.loss(), Some(Loss::Forgotten));
    assert_eq!(scoped.loss(), Some(Loss::Forgotten));
    let next = timeout(5 * SECOND, waiter).await.expect("within seconds");
    assert!(next.unwrap().unwrap().token() > token);
    assert!(matches!(guard.unlock().await, Err(Error::Lost { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_future_that_is_dropped_leaves_neither_a_hold_nor_a_place() {
    let store = InProcess::new();
    let holder = store.locker().write("x").await.unwrap();
    let locker = store.locker().wait(HOUR);
    assert!(timeout(SECOND, locker.write("x")).await.is_err());
    let reader = store.locker().read("x");
    drop(holder);
    reader.await.unwrap().unlock().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn min_hold_and_max_hold_go_by_the_paused_clock() {
    let store = InProcess::new();
    let job = store.locker().min_hold(30 * SECOND);
    job.write("job").await.unwrap().unlock().await.unwrap();
    sleep(29 * SECOND).await;
    assert!(store.locker().try_write("job").await.unwrap().is_none());
    sleep(2 * SECOND).await;
    assert!(store.locker().try_write("job").await.unwrap().is_some());

    let guard = store.locker().max_hold(HOUR).write("long").await.unwrap();
    let since = Instant::now();
    guard.lost().await;
    assert!(since.elapsed() <= HOUR);
    assert_eq!(guard.loss(), Some(Loss::MaxHold));
}

#[redis_lock(key = "stock:<item>", wait = "1s")]
async fn sell(item: &str) -> Result<(), Error> {
    sleep(10 * SECOND).await;
    let _ = item;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn annotated_functions_run_under_it() {
    let store = InProcess::new();
    let (ours, theirs) = (store.locker(), store.locker());
    let selling = tokio::spawn(with_locker(ours, sell("tea")));
    yield_now().await;
    let contended = with_locker(theirs.clone(), sell("tea")).await;
    assert!(matches!(contended, Err(Error::Contended { .. })));
    with_locker(theirs, sell("coffee")).await.unwrap();
    selling.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn shutdown_and_check_and_flush_work() {
    let locker = Locker::in_process();
    let check = locker.check().await.unwrap();
    assert!(check.wake_ups);
    drop(locker.write("x").await.unwrap());
    assert!(locker.flush().await);
    let guard = locker.write("x").await.unwrap();
    let since = Instant::now();
    let shutdown = locker.shutdown(10 * SECOND).await;
    assert_eq!(since.elapsed().as_secs(), 10);
    assert_eq!(shutdown.interrupted, 1);
    assert!(shutdown.is_complete(), "{shutdown}");
    assert_eq!(guard.loss(), Some(Loss::ShutDown));
    assert!(matches!(
        locker.write("x").await,
        Err(Error::ShutDown { .. })
    ));
}

/// The holder, whose lease goes on by the clock of the process, must not lose it to one that goes by another clock.
#[tokio::test]
async fn a_clock_that_is_paused_later_changes_nothing() {
    let store = InProcess::new();
    let guard = store.locker().write("x").await.unwrap();
    tokio::time::pause();
    sleep(HOUR).await;
    assert!(store.locker().try_write("x").await.unwrap().is_none());
    assert!(!guard.is_lost());
    guard.unlock().await.unwrap();
}

/// Without a paused clock all of it goes on by itself, as with a server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_tasks_of_many_threads_exclude_each_other() {
    let store = InProcess::new();
    let mut tasks = JoinSet::new();
    let inside = std::sync::Arc::new(std::sync::Mutex::new(()));
    for number in 0..200 {
        let locker = store.locker().wait(HOUR);
        let inside = std::sync::Arc::clone(&inside);
        tasks.spawn(async move {
            let guard = locker.write("x").await.unwrap();
            {
                let _inside = inside.try_lock().expect("nobody else is inside");
                std::hint::black_box(number);
            }
            yield_now().await;
            if number % 2 == 0 {
                guard.unlock().await.unwrap();
            }
        });
    }
    while let Some(task) = tasks.join_next().await {
        task.unwrap();
    }
}

/// A runtime that ends takes its tasks with it, and what they held is given back.
#[test]
fn what_a_runtime_held_is_given_back_when_the_runtime_ends() {
    let store = InProcess::new();
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
    };
    let locker = store.locker();
    let ended = runtime();
    ended.spawn({
        let locker = locker.clone();
        async move {
            let _guard = locker.write("x").await.unwrap();
            pending::<()>().await;
        }
    });
    ended.block_on(async {
        while locker.try_write("x").await.unwrap().is_some() {
            yield_now().await;
        }
    });
    drop(ended);
    runtime().block_on(async {
        let guard = store.locker().write("x").await.unwrap();
        guard.unlock().await.unwrap();
    });
}

/// No timers and no I/O are needed, nor a runtime to make it in.
#[test]
fn a_bare_runtime_is_enough() {
    let locker = Locker::in_process();
    let bare = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    bare.block_on(async {
        let guard = locker.write("x").await.unwrap();
        let contended = locker.clone().wait(Duration::from_millis(50)).write("x");
        assert!(matches!(contended.await, Err(Error::Contended { .. })));
        guard.unlock().await.unwrap();
    });
}
