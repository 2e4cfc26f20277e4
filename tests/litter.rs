//! Litter: every key can end by itself, and none is left when nobody holds or waits.

use std::collections::BTreeSet;
use std::future::pending;
use std::mem;
use std::time::{Duration, Instant};

use redis_lock::{Error, Locker, Mode};
use redis_lock_tests::{Program, Server, eventually, unique_key};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// How long the work goes on.
const WORK: Duration = Duration::from_secs(4);
const TTL: Duration = Duration::from_millis(400);
/// A dead waiter's place, and time for a busy machine.
const END: Duration = Duration::from_secs(6);

#[tokio::test]
async fn every_key_ends_by_itself_and_none_is_left() {
    let server = Server::start().await;
    let keys = [unique_key(), unique_key()];
    let mut work = JoinSet::new();
    for seed in 0..8 {
        let locker = Locker::connect(&server.url()).await.unwrap().ttl(TTL);
        work.spawn(some_work(locker, keys.clone(), seed));
    }
    let mut killed = Vec::new();
    for mode in ["r", "w"] {
        let arguments = [&*server.url(), &keys[0], mode, "400", "10000"];
        killed.push(Program::start(env!("CARGO_BIN_EXE_holder"), &arguments));
    }
    let mut roles = BTreeSet::new();
    let end = Instant::now() + WORK;
    while Instant::now() < end {
        for (name, ttl) in ttls(&server).await {
            assert_ne!(ttl, -1, "{name} would stay for ever");
            assert!(ttl < 5000, "{name} stays for {ttl} ms");
            roles.extend(name.split(['#', ':']).nth(2).map(str::to_owned));
        }
        sleep(Duration::from_millis(2)).await;
    }
    for program in &mut killed {
        program.kill().await;
    }
    assert_eq!(
        roles.into_iter().collect::<String>(),
        "ghqrw",
        "all kinds of keys were seen"
    );
    // In the middle of whatever they do.
    work.shutdown().await;
    eventually(END, "nothing is left", async || {
        let mut connection = server.connection().await;
        let size: usize = redis::cmd("DBSIZE")
            .query_async(&mut connection)
            .await
            .unwrap();
        size == 0
    })
    .await;
}

/// All that one can do with a lock, by turns.
async fn some_work(locker: Locker, keys: [String; 2], seed: usize) {
    for turn in seed.. {
        let key = &keys[turn / 3 % 2];
        let mode = if turn % 2 == 0 { Mode::R } else { Mode::W };
        let locker = locker.clone().mode(mode);
        match turn % 7 {
            0 => drop(locker.lock(key).await),
            1 => {
                if let Ok(guard) = locker.lock(key).await {
                    sleep(Duration::from_millis(20)).await;
                    let _ = guard.unlock().await;
                }
            }
            2 => drop(locker.try_lock(key).await),
            3 => {
                let body = locker.lock_exec(key, pending::<Result<(), Error>>());
                let _ = timeout(Duration::from_millis(30), body).await;
            }
            4 => drop(timeout(Duration::from_millis(5), locker.lock(key)).await),
            5 => {
                let brief = locker.wait(Duration::from_millis(30));
                drop(brief.lock(key).await);
            }
            // As if it had crashed.
            _ => mem::forget(locker.auto_extend(false).try_lock(key).await),
        }
    }
}

/// What there is, with its time to live in ms.
async fn ttls(server: &Server) -> Vec<(String, i64)> {
    let mut connection = server.connection().await;
    let mut command = redis::cmd("SCAN");
    command.arg(0).arg("COUNT").arg(1000);
    let (_, names): (u64, Vec<String>) = command.query_async(&mut connection).await.unwrap();
    let mut pipe = redis::pipe();
    for name in &names {
        pipe.cmd("PTTL").arg(name);
    }
    let ttls: Vec<i64> = pipe.query_async(&mut connection).await.unwrap();
    names.into_iter().zip(ttls).collect()
}
