//! Crashes: a process that is killed gives nothing back, and must not block others for longer than its lease.
//!
//! Guards against leases that others keep alive, and against waiting for one dead waiter after another.

use std::time::{Duration, Instant};

use redis_lock::{Guard, Locker};
use redis_lock_tests::{Program, Server, eventually, unique_key};
use tokio::task::JoinHandle;

/// Long enough for anything that happens at all.
const SOON: Duration = Duration::from_secs(20);
/// What a busy machine may add.
const SLACK: Duration = Duration::from_millis(1500);
/// How long a waiter that has died keeps its place.
const WAITER_LEASE: Duration = Duration::from_secs(3);

#[tokio::test]
async fn a_killed_writer_blocks_for_its_ttl_at_most() {
    const TTL: Duration = Duration::from_secs(1);
    let server = Server::start().await;
    let key = unique_key();
    let mut holder = start(&server, &key, "w", TTL, None);
    let token = token(&holder.line().await);
    let first = wait_for(&server, &key, 1).await;
    let second = wait_for(&server, &key, 2).await;
    // It renews what it holds, so those in line stay there.
    tokio::time::sleep(2 * TTL).await;
    assert!(!first.is_finished());
    let killed = Instant::now();
    holder.kill().await;
    let guard = first.await.unwrap();
    assert!(killed.elapsed() < TTL + SLACK, "{:?}", killed.elapsed());
    assert!(guard.token() > token);
    assert!(!second.is_finished(), "one after the other");
    guard.unlock().await.unwrap();
    second.await.unwrap().unlock().await.unwrap();
}

#[tokio::test]
async fn a_killed_reader_is_not_kept_alive_by_others() {
    const TTL: Duration = Duration::from_secs(3);
    let server = Server::start().await;
    let key = unique_key();
    let mut killed = start(&server, &key, "r", TTL, None);
    let mut other = start(&server, &key, "r", TTL, None);
    let _ = (killed.line().await, other.line().await);
    let locker = connect(&server).await.ttl(TTL);
    let reader = locker.read(&key).await.unwrap();
    let writer = wait_for(&server, &key, 1).await;
    killed.kill().await;
    // Over its end, the others renew theirs.
    tokio::time::sleep(TTL + TTL / 6).await;
    assert!(!writer.is_finished());
    other.close_stdin();
    assert_eq!(other.line().await, "released");
    let freed = Instant::now();
    reader.unlock().await.unwrap();
    let guard = writer.await.unwrap();
    assert!(freed.elapsed() < SLACK, "{:?}", freed.elapsed());
    guard.unlock().await.unwrap();
}

#[tokio::test]
async fn killed_waiters_hold_up_others_for_one_waiter_lease_together() {
    let server = Server::start().await;
    let key = unique_key();
    let guard = connect(&server).await.write(&key).await.unwrap();
    let mut dead = Vec::new();
    for number in 1..=20 {
        let mode = if number % 2 == 0 { "r" } else { "w" };
        dead.push(start(&server, &key, mode, WAITER_LEASE, Some(SOON)));
    }
    in_line(&server, &key, 20).await;
    let live = wait_for(&server, &key, 21).await;
    for waiter in &mut dead {
        waiter.kill().await;
    }
    let killed = Instant::now();
    guard.unlock().await.unwrap();
    let next = live.await.unwrap();
    let took = killed.elapsed();
    assert!(took < WAITER_LEASE + SLACK, "{took:?}");
    next.unlock().await.unwrap();
    eventually(SOON, "nothing is left", async || {
        server.keys().await.is_empty()
    })
    .await;
}

#[tokio::test]
async fn a_waiter_that_dies_as_it_is_granted_frees_it() {
    let server = Server::start().await;
    let key = unique_key();
    let guard = connect(&server).await.write(&key).await.unwrap();
    // Its own lease would be a minute.
    let minute = Duration::from_secs(60);
    let mut head = start(&server, &key, "w", minute, Some(SOON));
    in_line(&server, &key, 1).await;
    let live = wait_for(&server, &key, 2).await;
    head.pause().await;
    let paused = Instant::now();
    guard.unlock().await.unwrap();
    in_line(&server, &key, 1).await;
    assert!(!live.is_finished(), "the one that stands still has it");
    head.kill().await;
    let next = live.await.unwrap();
    let took = paused.elapsed();
    assert!(took < WAITER_LEASE + SLACK, "{took:?}");
    next.unlock().await.unwrap();
}

async fn connect(server: &Server) -> Locker {
    Locker::connect(&server.url()).await.unwrap()
}

fn start(server: &Server, key: &str, mode: &str, ttl: Duration, wait: Option<Duration>) -> Program {
    let url = server.url();
    let ttl = ttl.as_millis().to_string();
    let wait = wait.map(|wait| wait.as_millis().to_string());
    let mut arguments = vec![url.as_str(), key, mode, &ttl];
    arguments.extend(wait.as_deref());
    Program::start(env!("CARGO_BIN_EXE_holder"), &arguments)
}

/// A live writer in this process, once it is in line as number `place`.
async fn wait_for(server: &Server, key: &str, place: usize) -> JoinHandle<Guard> {
    let writer = connect(server).await.wait(SOON).write(key);
    let writer = tokio::spawn(async { writer.await.unwrap() });
    in_line(server, key, place).await;
    writer
}

/// Waits until there are so many in line.
async fn in_line(server: &Server, _: &str, count: usize) {
    eventually(SOON, "they are in line", async || {
        crate::stage::waiters(server).await >= count
    })
    .await;
}

/// Of the line `held <token>`.
fn token(line: &str) -> u64 {
    line.strip_prefix("held ").unwrap().parse().unwrap()
}
