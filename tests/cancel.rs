//! Guards against futures that are dropped half-way, at whatever await: nothing may stay locked or queued, though the
//! command may have been executed, may be on its way, or may not have been answered.

use std::future::Future;
use std::time::Duration;

use rand::{RngExt, SeedableRng, rngs::SmallRng};
use redis_lock::{Error, Locker, Mode, with_locker};
use redis_lock_tests::{Proxy, Server, eventually};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::stage::{LONG, SOON, chance, locker, nothing_is_left, poll_times, queued};

/// Each reply is this late, so that there is an await at which to drop.
const DELAY: Duration = Duration::from_millis(15);

/// A Locker whose link to its server is slow.
async fn scene() -> (Server, Proxy, Locker) {
    let server = Server::start().await;
    let proxy = Proxy::start(server.port()).await;
    let locker = locker(&proxy.url()).await;
    // From here on the server knows the scripts.
    locker.read("warm").await.unwrap().unlock().await.unwrap();
    nothing_is_left(&server).await;
    proxy.delay_replies(DELAY);
    (server, proxy, locker)
}

/// Drops the future after 0, 1, 2, … polls until it comes to its end, each time with another key.
async fn drop_at_every_await<F: Future>(future: impl Fn(String) -> F) -> F::Output {
    for polls in 0..100 {
        if let Some(output) = poll_times(polls, future(format!("x{polls}"))).await {
            assert!(polls > 1, "there was an await to drop it at");
            return output;
        }
    }
    panic!("it does not end")
}

#[tokio::test]
async fn a_free_lock_asked_for_and_given_up() {
    let (server, _proxy, locker) = scene().await;
    drop(drop_at_every_await(|key| locker.write(key)).await.unwrap());
    nothing_is_left(&server).await;
    drop(drop_at_every_await(|key| locker.read(key)).await.unwrap());
    nothing_is_left(&server).await;
    drop(drop_at_every_await(|key| locker.lock(key)).await.unwrap());
    nothing_is_left(&server).await;
    let guard = drop_at_every_await(|key| locker.try_lock(key))
        .await
        .unwrap();
    assert!(guard.is_some());
    drop(guard);
    nothing_is_left(&server).await;
}

#[tokio::test]
async fn a_place_in_line_given_up() {
    let (server, _proxy, locker) = scene().await;
    let holder = locker.write("x").await.unwrap();
    // It is polled when it asks, and then no more until its turn.
    for polls in 0..2 {
        for mode in [Mode::Read, Mode::Write] {
            let waiting = locker.clone().mode(mode).lock("x");
            assert!(poll_times(polls, waiting).await.is_none());
            eventually(SOON, "nobody stands in line", async || {
                queued(&server).await == 0
            })
            .await;
        }
    }
    holder.unlock().await.unwrap();
    nothing_is_left(&server).await;
}

#[tokio::test]
async fn an_unlock_given_up() {
    let (server, _proxy, locker) = scene().await;
    drop_at_every_await(|key| async {
        locker.write(key).await?.unlock().await?;
        Ok::<_, Error>(())
    })
    .await
    .unwrap();
    nothing_is_left(&server).await;
    for polls in 0..3 {
        let guard = locker.write("x").await.unwrap();
        let unlocked = poll_times(polls, guard.unlock()).await;
        assert_eq!(unlocked.is_some(), polls == 2);
        nothing_is_left(&server).await;
    }
}

#[tokio::test]
async fn a_body_under_the_lock_given_up() {
    let (server, _proxy, locker) = scene().await;
    let body = || async {
        sleep(DELAY).await;
        Ok::<_, Error>(7)
    };
    let output = drop_at_every_await(|key| locker.lock_exec(key, body())).await;
    assert_eq!(output.unwrap(), 7);
    nothing_is_left(&server).await;
    let scoped = |key| {
        with_locker(locker.clone(), async {
            redis_lock::locker()?.lock_exec(key, body()).await
        })
    };
    assert_eq!(drop_at_every_await(scoped).await.unwrap(), 7);
    nothing_is_left(&server).await;
}

#[tokio::test]
async fn a_connection_given_up() {
    let (server, proxy, _locker) = scene().await;
    let url = proxy.url();
    let before = clients(&server).await;
    let locker = drop_at_every_await(|_| Locker::connect(&url))
        .await
        .unwrap();
    assert!(locker.try_lock("x").await.unwrap().is_some());
    drop(locker);
    eventually(SOON, "what was opened in vain is closed", async || {
        clients(&server).await == before
    })
    .await;
}

/// The server runs the command, its answer is lost with the link, and the caller is gone before it can ask again.
#[tokio::test]
async fn a_grant_that_nobody_heard_of() {
    let (server, proxy, locker) = scene().await;
    for text in ["EVAL"; 3] {
        proxy.drop_next_reply(text);
        let acquisition = tokio::spawn(locker.write("x"));
        eventually(SOON, "it is granted", async || {
            !server.keys().await.is_empty()
        })
        .await;
        acquisition.abort();
        nothing_is_left(&server).await;
    }
}

/// The same, but the caller stays: it is told of the same grant.
#[tokio::test]
async fn a_grant_that_is_asked_for_again() {
    let (server, proxy, locker) = scene().await;
    proxy.drop_next_reply("EVAL");
    let guard = timeout(SOON, locker.write("x")).await.unwrap().unwrap();
    assert_eq!(proxy.traps_left(), 0);
    guard.unlock().await.unwrap();
    nothing_is_left(&server).await;
}

#[tokio::test]
async fn a_release_whose_answer_is_lost() {
    let (server, proxy, locker) = scene().await;
    let guard = locker.write("x").await.unwrap();
    proxy.drop_next_reply("EVAL");
    guard.unlock().await.expect("it was given back, if twice");
    assert_eq!(proxy.traps_left(), 0);
    nothing_is_left(&server).await;
}

/// The command is still on its way to the server when its caller leaves, and arrives after the caller's connection
/// has given up and been replaced.
#[tokio::test]
async fn a_command_that_arrives_after_its_caller_has_left() {
    let (server, proxy, locker) = scene().await;
    proxy.delay_replies(Duration::ZERO);
    let before = proxy.forwarded().len();
    // Longer than its answer is waited for.
    proxy.delay_next_request("EVAL", Duration::from_millis(2500));
    let acquisition = tokio::spawn(locker.write("x"));
    eventually(SOON, "it is under way", async || proxy.traps_left() == 0).await;
    acquisition.abort();
    // Two commands for certain: one that looks whether the late one was executed, and the late one.
    eventually(SOON, "it has arrived", async || {
        proxy.forwarded().len() > before + 1
    })
    .await;
    nothing_comes_up(&server).await;
}

/// Longer than a command is waited for, so that it is sent again, over a new connection.
const VERY_LATE: Duration = Duration::from_secs(3);

/// The first command comes late: the lock that the second one took has been given back by then.
#[tokio::test]
async fn a_command_that_arrives_after_the_lock_was_given_back() {
    for dropped in [false, true] {
        let (server, proxy, locker) = scene().await;
        proxy.delay_next_request("EVAL", VERY_LATE);
        let guard = locker.write("x").await.expect("the second command");
        if dropped {
            drop(guard);
        } else {
            guard.unlock().await.expect("still held");
        }
        nothing_is_left(&server).await;
        let before = proxy.forwarded().len();
        eventually(SOON, "the first command arrives", async || {
            proxy.forwarded().len() > before
        })
        .await;
        nothing_comes_up(&server).await;
    }
}

/// Late, but not too late for itself: what it takes is given back as soon as it cannot be executed any more.
#[tokio::test]
async fn a_command_that_arrives_a_little_late_is_taken_back() {
    let (server, proxy, locker) = scene().await;
    proxy.delay_replies(Duration::ZERO);
    proxy.delay_next_request("EVAL", Duration::from_millis(1120));
    let acquisition = tokio::spawn(locker.write("x"));
    eventually(SOON, "it is under way", async || proxy.traps_left() == 0).await;
    acquisition.abort();
    eventually(SOON, "it is executed", async || {
        !server.keys().await.is_empty()
    })
    .await;
    nothing_is_left(&server).await;
}

/// A command that is too late for itself has arrived.
async fn nothing_comes_up(server: &Server) {
    for _ in 0..20 {
        assert_eq!(server.keys().await, [""; 0]);
        sleep(Duration::from_millis(10)).await;
    }
}

/// The same when the second command, the last one, says that somebody else holds the lock.
#[tokio::test]
async fn a_command_that_arrives_after_its_caller_was_told_of_others() {
    let (server, proxy, locker) = scene().await;
    let holder = crate::stage::locker(&server.url())
        .await
        .write("x")
        .await
        .unwrap();
    proxy.delay_next_request("EVAL", VERY_LATE);
    let error = locker
        .wait(Duration::from_secs(1))
        .write("x")
        .await
        .unwrap_err();
    assert!(error.is_contended(), "{error}");
    holder.unlock().await.unwrap();
    nothing_is_left(&server).await;
    let before = proxy.forwarded().len();
    eventually(SOON, "the first command arrives", async || {
        proxy.forwarded().len() > before
    })
    .await;
    nothing_comes_up(&server).await;
}

/// A thousand acquisitions, dropped at a moment that chance decides: while they ask, stand in line, have just been
/// granted, or hold.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_acquisitions_given_up() {
    const TASKS: usize = 20;
    const ROUNDS: usize = 50;
    let (server, proxy, slow) = scene().await;
    proxy.delay_replies(Duration::from_millis(2));
    let given = Locker::new(server.manager().await).ttl(LONG).wait(LONG);
    let lockers = [slow, locker(&server.url()).await, given];
    let mut chance = chance();
    let mut tasks = JoinSet::new();
    for _ in 0..TASKS {
        let mut chance = SmallRng::seed_from_u64(chance.random());
        let lockers = lockers.clone();
        tasks.spawn(async move {
            let mut dropped = 0;
            while dropped < ROUNDS {
                let locker = &lockers[chance.random_range(0..lockers.len())];
                // Some are asked for by nearly everybody, some by nearly nobody.
                let key = format!(
                    "x{}",
                    chance.random_range(0..4) * chance.random_range(0..10)
                );
                let mode = [Mode::Read, Mode::Write][chance.random_range(0..2)];
                let acquisition = locker.clone().mode(mode).lock(key);
                let patience = Duration::from_micros(chance.random_range(0..8000));
                match timeout(patience, acquisition).await {
                    Err(_) => dropped += 1,
                    Ok(guard) => {
                        sleep(Duration::from_micros(chance.random_range(0..3000))).await;
                        drop(guard.unwrap());
                    }
                }
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    let start = Instant::now();
    nothing_is_left(&server).await;
    let took = start.elapsed();
    // Far below the leases of holders and waiters, which end by themselves.
    assert!(took < Duration::from_secs(1), "took {took:?}");
}

async fn clients(server: &Server) -> usize {
    let list: String = redis::cmd("CLIENT")
        .arg("LIST")
        .query_async(&mut server.connection().await)
        .await
        .unwrap();
    list.lines().count()
}
