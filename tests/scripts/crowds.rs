//! Many readers: no call may do work for all of them at once, and none of them is forgotten.

use redis_lock_tests::Server;

use super::{ACQUIRE, BOOK, Found, LONG, Lock, R, TRY, W, WAIT};

/// No call does more for others than this many steps, a few commands each.
const BATCH: u64 = 100;

/// Sends `acquire` for each id at once.
async fn acquire_all(lock: &Lock, ids: &[String], ttl: u64) {
    let source = ACQUIRE.replace("--@book", BOOK);
    let mut load = redis::cmd("SCRIPT");
    load.arg("LOAD").arg(source);
    let hash: String = load.query_async(&mut lock.con.clone()).await.unwrap();
    for some in ids.chunks(500) {
        let mut pipe = redis::pipe();
        for id in some {
            pipe.cmd("EVALSHA").arg(&hash).arg(5).arg(&lock.names);
            pipe.arg(id).arg("r").arg(ttl).arg(WAIT).arg("").ignore();
        }
        let () = pipe.query_async(&mut lock.con.clone()).await.unwrap();
    }
}

fn ids(count: u32) -> Vec<String> {
    (0..count).map(|n| format!("d{n:x}")).collect()
}

#[tokio::test]
async fn ten_thousand_dead_readers_are_cleaned_away_bit_by_bit() {
    let server = Server::with_own_clock().await;
    let lock = Lock::on(&server).await;
    lock.take("aa", R).await;
    let memory = async || -> u64 {
        let mut sum = 0;
        for name in [1, 4] {
            sum += lock
                .ask::<u64>(&["MEMORY", "USAGE", &lock.names[name]])
                .await;
        }
        sum
    };
    let small = memory().await;
    acquire_all(&lock, &ids(10_000), 30_000).await;
    let big = memory().await;
    server.set_clock(31_000);
    let mut calls = 0;
    while lock.ask::<u64>(&["ZCARD", &lock.names[1]]).await > 1 {
        server.reset_stats().await;
        assert!(lock.renew("aa", LONG).await);
        let stats = server.command_calls().await;
        let total: u64 = stats.values().sum();
        assert!(total < 60, "{stats:?}");
        calls += 1;
        assert!(calls <= 10_000 / BATCH, "{calls} calls");
    }
    let after = memory().await;
    println!("{small} bytes, {big} with the dead, {after} after {calls} calls");
    // An empty table of buckets may stay for a while.
    assert!(big > 500_000 && after < big / 5, "{small} {big} {after}");
    lock.hand_over("aa").await;
    lock.assert_idle().await;
}

/// Seen: the release of a dead one that had not been cleaned away yet was counted as that of the live one.
#[tokio::test]
async fn a_dead_reader_among_many_does_not_release_for_one_that_lives() {
    let server = Server::with_own_clock().await;
    let lock = Lock::on(&server).await;
    lock.take("aa", R).await;
    let dead = ids(250);
    acquire_all(&lock, &dead, 30_000).await;
    lock.wait("bb", W).await;
    server.set_clock(31_000);
    assert_eq!(lock.release(&dead[249]).await, (Found::Nothing, vec![]));
    assert_eq!(lock.wait("bb", W).await, 0);
    assert_eq!(lock.hand_over("aa").await, ["bb"]);
}

#[tokio::test]
async fn a_thousand_waiting_readers_are_all_let_in_within_a_few_calls() {
    let server = Server::start().await;
    let lock = Lock::on(&server).await;
    lock.take("aa", W).await;
    let readers = ids(1000);
    acquire_all(&lock, &readers, LONG).await;
    lock.wait("bb", W).await;
    let first = lock.hand_over("aa").await;
    assert_eq!(first, readers[..100]);
    // Each that lifts its claim lets some more in.
    let mut calls = 0;
    while lock.ask::<u64>(&["ZCARD", &lock.names[2]]).await > 1 {
        server.reset_stats().await;
        assert!(lock.renew(&readers[calls], LONG).await);
        let stats = server.command_calls().await;
        let total: u64 = stats.values().sum();
        assert!(total < 8 * BATCH, "{stats:?}");
        calls += 1;
    }
    assert_eq!(calls, 9);
    assert_eq!(lock.wait("bb", W).await, 0);
    let holders: Vec<String> = lock.ask(&["ZRANGE", &lock.names[1], "0", "-1"]).await;
    assert_eq!(holders.len(), 1000);
}

#[tokio::test]
async fn the_dead_that_are_still_there_keep_nobody_out() {
    let server = Server::with_own_clock().await;
    let lock = Lock::on(&server).await;
    // So that the book outlives them.
    lock.take("aa", R).await;
    acquire_all(&lock, &ids(250), 30_000).await;
    lock.hand_over("aa").await;
    server.set_clock(31_000);
    lock.acquire("bb", W, LONG, TRY).await.token();
}

#[tokio::test]
async fn the_dead_that_are_still_in_line_get_nothing() {
    let server = Server::with_own_clock().await;
    let lock = Lock::on(&server).await;
    lock.take("aa", W).await;
    acquire_all(&lock, &ids(150), LONG).await;
    lock.acquire("bb", W, LONG, LONG).await.place();
    server.set_clock(41_000);
    assert_eq!(lock.hand_over("aa").await, ["bb"]);
    lock.hand_over("bb").await;
    lock.assert_idle().await;
}
