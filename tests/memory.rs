//! A server whose memory is full refuses what would need more of it; what is held must not suffer from that.
//!
//! Guards against renewals and releases that are refused, and against waiters that are forgotten.

use std::time::Duration;

use redis_lock::{Guard, Locker, Mode};
use redis_lock_tests::{Server, eventually, unique_key};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// Long enough for anything that happens at all.
const SOON: Duration = Duration::from_secs(20);
const TTL: Duration = Duration::from_secs(1);
/// How long a waiter keeps its place without a sign of life.
const WAITER_LEASE: Duration = Duration::from_secs(3);

#[tokio::test]
async fn what_is_held_is_renewed_and_given_back() {
    let server = Server::start().await;
    let locker = connect(&server).await;
    let shared = unique_key();
    let guards = [
        locker.write(unique_key()).await.unwrap(),
        locker.read(&shared).await.unwrap(),
        locker.read(&shared).await.unwrap(),
    ];
    let dropped = locker.write(unique_key()).await.unwrap();
    fill(&server).await;
    sleep(3 * TTL).await;
    assert!(!dropped.is_lost());
    drop(dropped);
    for guard in guards {
        guard.unlock().await.unwrap();
    }
    only_the_filler_is_left(&server).await;
}

#[tokio::test]
async fn readers_in_line_get_their_turn() {
    those_in_line_get_their_turn([Mode::R, Mode::R]).await;
}

#[tokio::test]
async fn writers_in_line_get_their_turn() {
    those_in_line_get_their_turn([Mode::W, Mode::W]).await;
}

async fn those_in_line_get_their_turn(modes: [Mode; 2]) {
    let server = Server::start().await;
    let locker = connect(&server).await;
    let key = unique_key();
    let guard = locker.write(&key).await.unwrap();
    let mut waiters = Vec::new();
    for mode in modes {
        let asking = locker.clone().mode(mode).lock(&key);
        waiters.push(in_line(&server, asking, waiters.len() + 1).await);
    }
    fill(&server).await;
    sleep(WAITER_LEASE + TTL).await;
    assert!(waiters.iter().all(|waiter| !waiter.is_finished()));
    guard.unlock().await.unwrap();
    for waiter in waiters {
        let guard = timeout(SOON, waiter).await.expect("its turn has come");
        let guard = guard.unwrap();
        // What was granted in a full memory is renewed there as well.
        sleep(TTL * 3 / 2).await;
        guard.unlock().await.unwrap();
    }
    only_the_filler_is_left(&server).await;
}

#[tokio::test]
async fn newcomers_are_told_why_and_welcome_later() {
    let server = Server::start().await;
    let locker = connect(&server).await;
    let (held, shared) = (unique_key(), unique_key());
    let writer = locker.write(&held).await.unwrap();
    let reader = locker.read(&shared).await.unwrap();
    fill(&server).await;
    let keys = server.keys().await;
    let newcomer = connect(&server).await;
    let newcomers = [
        locker.write(unique_key()).await,
        locker.read(unique_key()).await,
        newcomer.write(&held).await,
        newcomer.read(&shared).await,
        newcomer.write(&shared).await,
    ];
    for newcomer in newcomers {
        let error = newcomer.unwrap_err();
        assert!(error.is_redis(), "{error}");
        assert!(format!("{error:?}").contains("OOM"), "{error:?}");
    }
    assert_eq!(server.keys().await, keys, "no trace of them");

    empty(&server).await;
    locker.write(unique_key()).await.unwrap().await.unwrap();
    let beside = locker.read(&shared).await.unwrap();
    beside.unlock().await.unwrap();
    writer.unlock().await.unwrap();
    reader.unlock().await.unwrap();
}

async fn connect(server: &Server) -> Locker {
    let locker = Locker::connect(&server.url()).await.unwrap();
    locker.ttl(TTL).wait(SOON)
}

/// Waits until somebody who asks is in line, as one of so many.
async fn in_line(
    server: &Server,
    asking: impl Future<Output = Result<Guard, redis_lock::Error>> + Send + 'static,
    count: usize,
) -> JoinHandle<Guard> {
    let waiter = tokio::spawn(async { asking.await.unwrap() });
    eventually(SOON, "it is in line", async || {
        crate::stage::waiters(server).await >= count
    })
    .await;
    waiter
}

async fn only_the_filler_is_left(server: &Server) {
    eventually(SOON, "only the filler is left", async || {
        server.keys().await == ["filler"]
    })
    .await;
}

/// Fills the memory, and sees that it is full.
async fn fill(server: &Server) {
    let mut pipe = redis::pipe();
    pipe.cmd("SETRANGE").arg("filler").arg(20_000_000).arg("x");
    pipe.cmd("CONFIG").arg("SET").arg("maxmemory").arg("10mb");
    let mut connection = server.connection().await;
    let () = pipe.query_async(&mut connection).await.unwrap();
    let mut command = redis::cmd("SET");
    command.arg("more").arg(1);
    let refused: redis::RedisResult<()> = command.query_async(&mut connection).await;
    assert_eq!(refused.unwrap_err().code(), Some("OOM"));
}

async fn empty(server: &Server) {
    let mut command = redis::cmd("DEL");
    command.arg("filler");
    let () = command
        .query_async(&mut server.connection().await)
        .await
        .unwrap();
}
