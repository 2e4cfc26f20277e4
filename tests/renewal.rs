//! Renewal: what is held stays held, whatever else goes on, and what was given back is left alone.
//!
//! Guards against renewing only some modes, giving up at the first error, letting one lock spoil the others, a
//! runtime that is busy with something else, and renewals that go on after a release.

use std::fs;
use std::future::pending;
use std::time::{Duration, Instant};

use redis_lock::{Error, Guard, Locker, Mode};
use redis_lock_tests::{Proxy, Server, eventually, unique_key};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// Long enough for anything that happens at all.
const SOON: Duration = Duration::from_secs(10);
/// Waited out many times here; on a busy machine a renewal may be late by more than half of it.
const TTL: Duration = Duration::from_millis(500);

#[tokio::test]
async fn a_lock_is_held_for_ten_leases() {
    let server = Server::start().await;
    let locker = connect(&server.url()).await;
    let rival = connect(&server.url()).await;
    tokio::join!(
        stays_held(&locker, Mode::Write, &rival, Mode::Write),
        stays_held(&locker, Mode::Write, &rival, Mode::Read),
        stays_held(&locker, Mode::Read, &rival, Mode::Write),
    );
}

async fn stays_held(locker: &Locker, mode: Mode, rival: &Locker, rivals_mode: Mode) {
    let (key, rival) = (unique_key(), rival.clone().mode(rivals_mode));
    let guard = locker.clone().mode(mode).lock(&key).await.unwrap();
    let start = Instant::now();
    while start.elapsed() < 10 * TTL {
        assert!(rival.try_lock(&key).await.unwrap().is_none());
        assert!(!guard.is_lost());
        sleep(Duration::from_millis(10)).await;
    }
    guard.unlock().await.unwrap();
    let freed = rival.try_lock(&key).await.unwrap();
    freed.expect("it is free now").unlock().await.unwrap();
}

#[tokio::test]
async fn bad_entries_do_not_spoil_the_others() {
    const LONGER: Duration = Duration::from_secs(1);
    let server = Server::start().await;
    let locker = connect(&server.url()).await.ttl(LONGER);
    let mut guards = take(&locker, 200).await;
    let foreign = guards.swap_remove(150);
    let deleted = guards.swap_remove(50);
    let mut connection = server.connection().await;
    for name in names(&server, &foreign).await {
        let mut pipe = redis::pipe();
        pipe.del(&name).rpush(&name, "somebody else's");
        let () = pipe.query_async(&mut connection).await.unwrap();
    }
    let mut command = redis::cmd("DEL");
    command.arg(names(&server, &deleted).await);
    let () = command.query_async(&mut connection).await.unwrap();

    timeout(SOON, foreign.lost()).await.expect("one is lost");
    timeout(SOON, deleted.lost()).await.expect("one is lost");
    sleep(3 * LONGER).await;
    for guard in guards {
        guard.unlock().await.unwrap();
    }
}

#[tokio::test]
async fn errors_shorter_than_the_lease_do_not_end_it() {
    const LONGER: Duration = Duration::from_millis(1500);
    let server = Server::start().await;
    let proxy = Proxy::start(server.port()).await;
    let locker = connect(&proxy.url()).await.ttl(LONGER);
    let writer = locker.write(unique_key()).await.unwrap();
    let reader = locker.read(unique_key()).await.unwrap();
    let renewed = async || {
        eventually(SOON, "both are renewed", async || {
            writer.valid_for().min(reader.valid_for()) > LONGER * 2 / 3
        })
        .await;
    };
    for round in 1..=3 {
        proxy.cut().await;
        eventually(SOON, "a renewal is overdue", async || {
            writer.valid_for().max(reader.valid_for()) < LONGER / 2
        })
        .await;
        proxy.pass().await;
        renewed().await;
        // Renewed, but nobody hears of it, several times in a row.
        for _ in 0..round {
            proxy.drop_next_reply("EVAL");
        }
        eventually(SOON, "the replies are lost", async || {
            proxy.traps_left() == 0
        })
        .await;
        renewed().await;
    }
    writer.unlock().await.unwrap();
    reader.unlock().await.unwrap();
}

#[tokio::test]
async fn renewal_ends_with_the_hold() {
    const SHORT: Duration = Duration::from_millis(200);
    let server = Server::start().await;
    let proxy = Proxy::start(server.port()).await;
    let locker = connect(&proxy.url()).await.ttl(SHORT);
    let unlocked = locker.write(unique_key()).await.unwrap();
    let read = locker.read(unique_key()).await.unwrap();
    let dropped = locker.write(unique_key()).await.unwrap();
    let unlock_dropped = locker.write(unique_key()).await.unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(locker.lock_exec(unique_key(), pending::<Result<(), Error>>()));
    eventually(SOON, "five are held", async || {
        let names = server.keys().await;
        names.iter().filter(|name| name.contains("#g")).count() == 5
    })
    .await;
    // Into their renewals.
    sleep(2 * SHORT).await;
    unlocked.unlock().await.unwrap();
    read.unlock().await.unwrap();
    drop(dropped);
    drop(unlock_dropped.unlock());
    tasks.shutdown().await;
    let returned = locker.lock_exec(unique_key(), async { Ok::<_, Error>(1) });
    assert_eq!(returned.await.unwrap(), 1);
    eventually(SOON, "nothing is left", async || {
        server.keys().await.is_empty()
    })
    .await;
    let sent = proxy.forwarded().len();
    sleep(3 * SHORT).await;
    assert_eq!(proxy.forwarded()[sent..], [""; 0], "sent after the release");

    // Given back while a renewal is under way.
    proxy.delay_replies(SHORT / 4);
    let guard = locker.write(unique_key()).await.unwrap();
    let sent = proxy.forwarded().len();
    eventually(SOON, "a renewal is sent", async || {
        proxy.forwarded().len() > sent
    })
    .await;
    guard.unlock().await.unwrap();
    sleep(3 * SHORT).await;
    let sent = &proxy.forwarded()[sent..];
    assert_eq!(sent, ["EVALSHA", "EVALSHA"], "the renewal, the release");
}

#[tokio::test]
async fn a_runtime_that_is_blocked_does_not_stop_renewal() {
    let server = Server::start().await;
    let locker = connect(&server.url()).await;
    let writer = locker.write(unique_key()).await.unwrap();
    let reader = locker.read(unique_key()).await.unwrap();
    std::thread::sleep(3 * TTL);
    assert!(!writer.is_lost() && !reader.is_lost());
    writer.unlock().await.unwrap();
    reader.unlock().await.unwrap();
}

/// What drives a connection must not come to live in the runtime of whoever noticed that the old one was broken.
#[tokio::test]
async fn a_runtime_that_is_blocked_does_not_stop_renewal_after_a_reconnect() {
    let server = Server::start().await;
    let locker = connect(&server.url()).await;
    for _ in 0..2 {
        let mut command = redis::cmd("CLIENT");
        command.arg("KILL").arg("TYPE").arg("normal");
        let () = command
            .query_async(&mut server.connection().await)
            .await
            .unwrap();
        let guard = locker.write(unique_key()).await.unwrap();
        std::thread::sleep(3 * TTL);
        assert!(!guard.is_lost(), "its renewal stood still");
        guard.unlock().await.unwrap();
    }
}

#[tokio::test]
async fn without_renewal_a_lock_ends_after_its_ttl() {
    let server = Server::start().await;
    let key = unique_key();
    let start = Instant::now();
    let locker = connect(&server.url()).await.auto_extend(false);
    let guard = locker.write(&key).await.unwrap();
    let rival = connect(&server.url()).await.wait(SOON);
    let next = rival.write(&key).await.unwrap();
    assert!(start.elapsed() >= TTL);
    assert!(guard.is_lost());
    assert!(guard.unlock().await.unwrap_err().is_lost());
    next.unlock().await.unwrap();
}

#[tokio::test]
async fn a_stuck_body_ends_with_max_hold() {
    const MAX: Duration = Duration::from_millis(1400);
    let server = Server::start().await;
    let key = unique_key();
    let locker = connect(&server.url()).await.max_hold(MAX);
    let start = Instant::now();
    let stuck = locker.lock_exec(&key, pending::<Result<(), Error>>());
    let result = timeout(SOON, stuck).await.expect("it is ended");
    assert!(result.unwrap_err().is_lost());
    let took = start.elapsed();
    assert!(took > 2 * TTL, "not renewed up to then: {took:?}");
    assert!(took < MAX + TTL, "renewed beyond it: {took:?}");
    let rival = connect(&server.url()).await.wait(SOON);
    rival.write(&key).await.unwrap().unlock().await.unwrap();
}

#[tokio::test]
async fn scripts_may_be_flushed_at_any_time() {
    let server = Server::start().await;
    let mut connection = server.connection().await;
    let flushing = tokio::spawn(async move {
        loop {
            let mut command = redis::cmd("SCRIPT");
            command.arg("FLUSH");
            let () = command.query_async(&mut connection).await.unwrap();
        }
    });
    let key = unique_key();
    let mut tasks = JoinSet::new();
    for task in 0..4 {
        let (locker, key) = (connect(&server.url()).await.wait(SOON), key.clone());
        tasks.spawn(async move {
            for turn in 0..2 {
                let mode = if (task + turn) % 2 == 0 {
                    Mode::R
                } else {
                    Mode::W
                };
                let guard = locker.clone().mode(mode).lock(&key).await.unwrap();
                sleep(TTL).await;
                guard.unlock().await.unwrap();
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    assert!(!flushing.is_finished());
    flushing.abort();
}

#[tokio::test]
async fn two_thousand_locks_are_kept_by_one_thread() {
    const LONGER: Duration = Duration::from_secs(2);
    let server = Server::start().await;
    let locker = connect(&server.url()).await.ttl(LONGER);
    let first = locker.write(unique_key()).await.unwrap();
    let before = threads();
    let guards = take(&locker, 2000).await;
    let end = Instant::now() + 3 * LONGER;
    while Instant::now() < end {
        // Other tests may run in the same process.
        assert!(threads() < before + 200, "a thread for each lock");
        let lost = guards.iter().filter(|guard| guard.is_lost()).count();
        assert_eq!(lost, 0, "of 2000 are lost");
        sleep(TTL / 5).await;
    }
    for guard in guards {
        guard.unlock().await.unwrap();
    }
    first.unlock().await.unwrap();
}

async fn connect(url: &str) -> Locker {
    Locker::connect(url).await.unwrap().ttl(TTL)
}

/// Takes many locks, a hundred at a time, readers and writers by turns.
async fn take(locker: &Locker, count: usize) -> Vec<Guard> {
    let mut guards = Vec::new();
    while guards.len() < count {
        let mut tasks = JoinSet::new();
        for index in 0..100.min(count - guards.len()) {
            let mode = if index % 2 == 0 { Mode::R } else { Mode::W };
            tasks.spawn(locker.clone().mode(mode).lock(unique_key()));
        }
        guards.extend(tasks.join_all().await.into_iter().map(Result::unwrap));
    }
    guards
}

/// The names in Redis of a lock that is held.
async fn names(server: &Server, guard: &Guard) -> Vec<String> {
    let mut names = server.keys().await;
    names.retain(|name| name.contains(&**guard.key()));
    assert!(!names.is_empty());
    names
}

fn threads() -> usize {
    fs::read_dir("/proc/self/task").unwrap().count()
}
