//! Time limits that hold: a call ends within `wait` and one command's time limit, whatever happens to Redis; and any round
//! trip below that limit works for every command, also the first of its kind.

use std::time::Duration;

use redis_lock::{Error, Locker, Mode, redis_lock, with_locker};
use redis_lock_tests::{Proxy, Server};
use tokio::time::{Instant, timeout};

use crate::stage::{LONG, SOON, enqueue, locker, nothing_is_left, soon};

/// What a busy machine takes for what needs no time.
const SLACK: Duration = Duration::from_millis(900);
/// The default of `command_timeout`.
const LIMIT: Duration = Duration::from_secs(1);

#[redis_lock(key = "annotated", wait = "500ms")]
async fn annotated() -> Result<(), Error> {
    Ok(())
}

#[redis_lock(key = ["a", "b", "c", "d", "e"], wait = "500ms")]
async fn of_several_locks() -> Result<(), Error> {
    Ok(())
}

#[tokio::test]
async fn no_call_takes_longer_than_its_wait_and_one_command_on_a_server_that_stands_still() {
    let server = Server::start().await;
    let locker = locker(&server.url()).await;
    let held = locker.write("held").await.unwrap();
    let several = locker.lock_all(["1", "2", "3"]).await.unwrap();
    let nested = locker.clone().wait(Duration::from_millis(500));
    server.pause().await;
    let half = Duration::from_millis(500);
    let short = |wait| locker.clone().wait(wait);

    ends_within(LIMIT, async { short(LONG).try_lock("x").await.map(drop) }).await;
    ends_within(LIMIT, async {
        short(Duration::ZERO).write("x").await.map(drop)
    })
    .await;
    ends_within(half + LIMIT, async {
        short(half).read("x").await.map(drop)
    })
    .await;
    ends_within(half + LIMIT, async {
        short(half)
            .lock_all(["1", "2", "3", "4", "5"])
            .await
            .map(drop)
    })
    .await;
    ends_within(half + LIMIT, with_locker(nested.clone(), annotated())).await;
    ends_within(
        half + LIMIT,
        with_locker(nested.clone(), of_several_locks()),
    )
    .await;
    ends_within(
        half + LIMIT,
        nested.lock_exec("x", async { Ok::<_, Error>(()) }),
    )
    .await;
    ends_within(LIMIT, held.unlock()).await;
    ends_within(LIMIT, several.unlock()).await;
    let quick = locker.clone().command_timeout(Duration::from_millis(100));
    ends_within(half + Duration::from_millis(100), async {
        quick.wait(half).write("x").await.map(drop)
    })
    .await;

    server.resume();
    nothing_is_left(&server).await;
}

/// It fails, and for want of an answer.
async fn ends_within(limit: Duration, call: impl Future<Output = Result<(), Error>>) {
    let started = Instant::now();
    let error = call.await.expect_err("the server stands still");
    let took = started.elapsed();
    assert!(
        took < limit + SLACK,
        "{took:?}, more than {limit:?}: {error}"
    );
    assert!(error.to_string().contains("no reply in time"), "{error}");
}

#[tokio::test]
async fn a_waiter_is_told_in_time_that_the_server_stands_still() {
    let server = Server::start().await;
    let locker = locker(&server.url()).await;
    let holder = locker.write("x").await.unwrap();
    let wait = Duration::from_millis(1500);
    let started = Instant::now();
    let waiter = enqueue(&server, locker.clone().wait(wait).write("x")).await;
    server.pause().await;
    let error = soon(waiter).await.unwrap_err();
    let took = started.elapsed();
    assert!(took < wait + LIMIT + SLACK, "{took:?}: {error}");
    server.resume();
    holder.unlock().await.unwrap();
    nothing_is_left(&server).await;
}

#[tokio::test]
async fn each_command_works_the_first_time_on_a_slow_link() {
    tokio::join!(
        over_a_link_of(Duration::from_millis(520), LIMIT),
        over_a_link_of(Duration::from_millis(880), LIMIT),
        over_a_link_of(Duration::from_millis(1400), Duration::from_secs(2)),
    );
}

async fn over_a_link_of(round_trip: Duration, limit: Duration) {
    let server = Server::start().await;
    let proxy = Proxy::start(server.port()).await;
    let direct = locker(&server.url()).await;
    let locker = locker(&proxy.url()).await.command_timeout(limit);
    proxy.delay_replies(round_trip);
    for mode in [Mode::Write, Mode::Read] {
        let locker = locker.clone().mode(mode).ttl(Duration::from_secs(9));
        let guard = locker.try_lock("x").await.unwrap().expect("it is free");
        guard.unlock().await.unwrap();
    }
    // Its first renewal is the first of its kind, too.
    let kept = locker.clone().ttl(2 * limit).write("kept").await.unwrap();
    let waited = direct.write("waited").await.unwrap();
    let waiter = enqueue(&server, locker.write("waited")).await;
    waited.unlock().await.unwrap();
    let guard = timeout(SOON, waiter)
        .await
        .expect("in time")
        .unwrap()
        .unwrap();
    guard.unlock().await.unwrap();
    assert!(!kept.is_lost());
    kept.unlock().await.unwrap();
    proxy.delay_replies(Duration::ZERO);
    nothing_is_left(&server).await;
}

#[tokio::test]
async fn a_command_timeout_out_of_range_is_refused_before_anything_is_sent() {
    let server = Server::start().await;
    let locker = locker(&server.url()).await;
    for wrong in [
        Duration::ZERO,
        Duration::from_millis(9),
        Duration::from_secs(61),
    ] {
        let error = locker.clone().command_timeout(wrong).write("x").await;
        let text = error.unwrap_err().to_string();
        assert!(
            text.contains("command_timeout") && text.contains("from 10 ms to a minute"),
            "{text}"
        );
    }
    let least: Locker = locker.command_timeout(Duration::from_millis(10));
    // The range includes its ends; whether it is enough depends on the machine.
    let outcome = least.write("x").await;
    assert!(!matches!(outcome, Err(Error::InvalidOptions { .. })));
}
