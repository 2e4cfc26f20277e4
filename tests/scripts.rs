//! The Lua scripts, each alone on a real server: what a server may refuse, and what they leave in Redis. What they answer is
//! compared with the store in memory by `tests/conformance`.

use std::collections::BTreeMap;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{RedisError, RedisResult, Value};
use redis_lock_tests::{Server, eventually};

const STATE: &str = include_str!("../redis-lock/src/store/redis/state.lua");
const OPEN: &str = include_str!("../redis-lock/src/store/redis/open.lua");
const SETTLE: &str = include_str!("../redis-lock/src/store/redis/settle.lua");
const ACQUIRE: &str = include_str!("../redis-lock/src/store/redis/acquire.lua");
const HEARTBEAT: &str = include_str!("../redis-lock/src/store/redis/heartbeat.lua");
const RENEW: &str = include_str!("../redis-lock/src/store/redis/renew.lua");
const RELEASE: &str = include_str!("../redis-lock/src/store/redis/release.lua");

const SOON: Duration = Duration::from_secs(10);
/// A lease that does not end while a test runs, in ms.
const LONG: &str = "60000";
const LEASE: &str = "3000";
/// Later than any clock.
const ANY_TIME: &str = "9999999999999999";
/// Sessions, in hexadecimal.
const A: &str = "0000000000000000000000000000000a";
const B: &str = "0000000000000000000000000000000b";
const C: &str = "0000000000000000000000000000000c";
const D: &str = "0000000000000000000000000000000d";

/// A script as Redis gets it.
fn pasted(script: &str) -> String {
    script
        .replace("--@state", STATE)
        .replace("--@open", OPEN)
        .replace("--@settle", SETTLE)
}

/// One lock on a server. After each call it looks whether all its keys have a TTL.
struct Lock {
    con: MultiplexedConnection,
    names: [&'static str; 5],
}

impl Lock {
    async fn on(server: &Server) -> Self {
        Lock {
            con: server.connection().await,
            names: [
                "{x}:word",
                "{x}:grants",
                "{x}:queue",
                "{x}:waiters",
                "{x}:records",
            ],
        }
    }

    async fn eval(&self, script: &str, arguments: &[&str]) -> RedisResult<String> {
        let script = pasted(script);
        let mut command = redis::cmd("EVAL");
        command.arg(script).arg(self.names.len()).arg(&self.names);
        let reply = command
            .arg(arguments)
            .query_async(&mut self.con.clone())
            .await?;
        for name in self.names {
            let ttl: i64 = self.ask(&["PTTL", name]).await;
            assert_ne!(ttl, -1, "{name} has no TTL after {arguments:?}");
        }
        Ok(match reply {
            Value::Int(number) => number.to_string(),
            reply => redis::from_redis_value(reply)?,
        })
    }

    async fn ask<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        let mut command = redis::cmd(words[0]);
        let answer = command
            .arg(&words[1..])
            .query_async(&mut self.con.clone())
            .await;
        answer.expect("the server answers")
    }

    async fn acquire(&self, session: &str, want: &str) -> RedisResult<String> {
        self.eval(ACQUIRE, &[session, "-", ANY_TIME, "1", LONG, LEASE, want])
            .await
    }

    async fn heartbeat(&self, session: &str) -> String {
        let reply = self.eval(HEARTBEAT, &[session, "-", "1", LEASE, "1"]).await;
        reply.expect("it is not refused")
    }

    async fn renew(&self, session: &str, epoch: &str) -> String {
        let reply = self
            .eval(RENEW, &[session, "-", "1", LONG, epoch, LEASE])
            .await;
        reply.expect("it is not refused")
    }

    async fn release(&self, session: &str, keep_out: &str) -> String {
        let reply = self
            .eval(RELEASE, &[session, "-", "1", "1", keep_out, LEASE])
            .await;
        reply.expect("it is not refused")
    }

    /// Everything that is there.
    async fn dump(&self) -> BTreeMap<&'static str, Option<Vec<u8>>> {
        let mut all = BTreeMap::new();
        for name in self.names {
            all.insert(name, self.ask(&["DUMP", name]).await);
        }
        all
    }
}

/// The ranges in a reply: without the time, and without what is left of a lease.
fn ranges(reply: &str) -> Vec<String> {
    let words = reply.split(' ').skip(4);
    words
        .map(|word| word.split(['@', '+']).next().unwrap_or(word).to_owned())
        .collect()
}

#[track_caller]
fn assert_refused(result: RedisResult<String>, code: &str) {
    let error: RedisError = result.expect_err("not refused");
    assert!(error.to_string().contains(code), "{error}, not {code}");
}

async fn fill_the_memory(lock: &Lock) {
    let () = lock.ask(&["CONFIG", "SET", "maxmemory", "1"]).await;
}

#[test]
fn headers_name_every_argument() {
    for script in [ACQUIRE, HEARTBEAT, RENEW, RELEASE] {
        let header: String = script
            .lines()
            .take_while(|line| line.starts_with("--"))
            .collect();
        for number in 1..=9 {
            let is_used = script.contains(&format!("ARGV[{number}]"));
            let named = header.contains(&format!(" {number}   "));
            assert!(!is_used || named, "ARGV {number}: {header}");
        }
        assert!(header.contains("KEYS     see state.lua") && header.contains("Returns"));
    }
}

#[tokio::test]
async fn a_command_that_is_too_late_does_nothing() {
    let server = Server::start().await;
    let lock = Lock::on(&server).await;
    for not_after in ["0", "999", "1000000000000000"] {
        let arguments = [A, "-", not_after, "1", LONG, LEASE, "w1-1"];
        let reply = lock.eval(ACQUIRE, &arguments).await.unwrap();
        assert!(reply.ends_with(" late"), "{reply}");
    }
    assert_eq!(server.keys().await, [""; 0]);
}

#[tokio::test]
async fn only_acquire_creates_anything() {
    let server = Server::start().await;
    let lock = Lock::on(&server).await;
    lock.heartbeat(A).await;
    lock.renew(A, "1").await;
    lock.release(A, "0").await;
    lock.release(A, LONG).await;
    assert_eq!(server.keys().await, [""; 0]);
    // Nor in the state of others.
    lock.acquire(A, "w1-1").await.unwrap();
    lock.acquire(B, "r1-1").await.unwrap();
    for reply in [
        lock.heartbeat(C).await,
        lock.renew(C, "1").await,
        lock.release(C, LONG).await,
    ] {
        assert_eq!(ranges(&reply), [""; 0], "{reply}");
    }
    assert_eq!(ranges(&lock.release(A, "0").await), [""; 0]);
    assert_eq!(ranges(&lock.heartbeat(B).await), ["r1-1"]);
    lock.release(B, "0").await;
    eventually(SOON, "nothing is left", async || {
        server.keys().await.is_empty()
    })
    .await;
}

/// If each growth gave new tokens to all tickets, the last token would soon be ahead of the clock, and `FLUSHALL` would let
/// tokens begin at the clock again.
#[tokio::test]
async fn a_grant_that_grows_gives_new_tokens_to_new_tickets_only() {
    let server = Server::start().await;
    let lock = Lock::on(&server).await;
    let many = 1_000_000;
    lock.acquire(A, &format!("w1-{many}")).await.unwrap();
    for to in many + 1..=many + 5 {
        let reply = lock.acquire(A, &format!("w{to}-{to}")).await.unwrap();
        let words: Vec<_> = reply.split(['@', '~', ' ']).collect();
        let [now, .., token, _] = words[..] else {
            panic!("not a view with a grant: {reply}");
        };
        let (now, token): (u64, u64) = (now.parse().unwrap(), token.parse().unwrap());
        assert!(token <= now, "the first ticket's token is ahead: {reply}");
    }
}

#[tokio::test]
async fn a_full_memory_refuses_newcomers_without_a_trace() {
    let server = Server::start().await;
    let lock = Lock::on(&server).await;
    fill_the_memory(&lock).await;
    for want in ["w1-1", "r1-1", "w1-1?"] {
        assert_refused(lock.acquire(A, want).await, "OOM");
    }
    assert_eq!(server.keys().await, [""; 0]);
    let () = lock.ask(&["CONFIG", "SET", "maxmemory", "0"]).await;
    for others in [["w1-1", ""], ["r1-1", "w1-1"]] {
        for (session, want) in [A, B]
            .into_iter()
            .zip(others)
            .filter(|(_, want)| !want.is_empty())
        {
            lock.acquire(session, want).await.unwrap();
        }
        fill_the_memory(&lock).await;
        let before = lock.dump().await;
        for want in ["w1-1", "r1-1"] {
            assert_refused(lock.acquire(C, want).await, "OOM");
        }
        assert_eq!(lock.dump().await, before);
        let () = lock.ask(&["CONFIG", "SET", "maxmemory", "0"]).await;
        let () = lock.ask(&["FLUSHALL"]).await;
    }
}

#[tokio::test]
async fn a_full_memory_does_not_hurt_those_who_are_in() {
    let server = Server::start().await;
    let lock = Lock::on(&server).await;
    // Alone.
    lock.acquire(A, "w1-1").await.unwrap();
    fill_the_memory(&lock).await;
    assert_eq!(ranges(&lock.renew(A, "0").await), ["w1-1"]);
    assert_eq!(ranges(&lock.renew(A, "1").await), ["w1-1"]);
    assert_eq!(ranges(&lock.acquire(A, "w2-3").await.unwrap()), ["w1-3"]);
    assert_eq!(ranges(&lock.release(A, "0").await), ["w2-3"]);
    let behind_itself = lock.acquire(A, "r4-4").await.unwrap();
    assert_eq!(ranges(&behind_itself), ["w2-3", "r4-4"]);
    let () = lock.ask(&["CONFIG", "SET", "maxmemory", "0"]).await;
    let () = lock.ask(&["FLUSHALL"]).await;
    // Alone, with `min_hold`.
    lock.acquire(A, "w1-1").await.unwrap();
    fill_the_memory(&lock).await;
    lock.release(A, LONG).await;
    let () = lock.ask(&["CONFIG", "SET", "maxmemory", "0"]).await;
    assert_eq!(ranges(&lock.acquire(B, "w1-1").await.unwrap()), ["w1-1"]);
    let () = lock.ask(&["FLUSHALL"]).await;
    // With others.
    lock.acquire(A, "w1-1").await.unwrap();
    lock.acquire(B, "r1-1").await.unwrap();
    lock.acquire(C, "r1-1").await.unwrap();
    fill_the_memory(&lock).await;
    assert_eq!(ranges(&lock.renew(A, "1").await), ["w1-1"]);
    assert_eq!(ranges(&lock.heartbeat(B).await), ["r1-1"]);
    assert_eq!(ranges(&lock.acquire(B, "r1-1").await.unwrap()), ["r1-1"]);
    lock.release(A, "100").await;
    eventually(SOON, "the readers are let in", async || {
        lock.heartbeat(C).await.contains("r1-1@")
    })
    .await;
    assert!(lock.heartbeat(B).await.contains("r1-1@"));
    lock.release(B, "0").await;
    lock.release(C, "0").await;
    eventually(SOON, "nothing is left", async || {
        server.keys().await.is_empty()
    })
    .await;
}

#[tokio::test]
async fn a_foreign_value_is_an_error_and_is_left_alone() {
    let server = Server::start().await;
    let lock = Lock::on(&server).await;
    for name in lock.names {
        for foreign in [["SET", name, "text"].as_slice(), &["LPUSH", name, "text"]] {
            if name != lock.names[0] {
                lock.acquire(A, "w1-1").await.unwrap();
            }
            let _: Value = lock.ask(foreign).await;
            let before = lock.dump().await;
            let mut command = redis::cmd("EVAL");
            command.arg(pasted(ACQUIRE)).arg(5).arg(&lock.names);
            command.arg(&[B, "-", ANY_TIME, "1", LONG, LEASE, "w1-1"]);
            let reply = command.query_async::<String>(&mut lock.con.clone()).await;
            let error = reply.expect_err("it is foreign").to_string();
            assert!(
                error.contains("FOREIGN") || error.contains("WRONGTYPE"),
                "{name}: {error}"
            );
            assert_eq!(lock.dump().await, before, "{name}");
            let () = lock.ask(&["FLUSHALL"]).await;
        }
    }
}

#[tokio::test]
async fn a_lock_that_somebody_has_made_last_for_ever_ends_again() {
    let server = Server::start().await;
    let lock = Lock::on(&server).await;
    lock.acquire(A, "w1-1").await.unwrap();
    let _: i64 = lock.ask(&["PERSIST", "{x}:word"]).await;
    assert_eq!(ranges(&lock.renew(A, "1").await), ["w1-1"]);
}

#[tokio::test]
async fn what_a_word_that_was_evicted_leaves_behind_counts_for_nothing() {
    let server = Server::start().await;
    let lock = Lock::on(&server).await;
    lock.acquire(A, "w1-1").await.unwrap();
    lock.acquire(B, "r1-1").await.unwrap();
    let _: i64 = lock.ask(&["DEL", "{x}:word"]).await;
    lock.acquire(C, "w1-1").await.unwrap();
    assert_eq!(ranges(&lock.acquire(D, "r1-1").await.unwrap()), ["r1-1"]);
    lock.release(C, "0").await;
    let reply = lock.heartbeat(D).await;
    assert!(reply.contains("r1-1@"), "{reply}");
}

#[tokio::test]
async fn a_place_that_a_word_that_was_evicted_leaves_behind_counts_for_nothing() {
    let server = Server::start().await;
    let lock = Lock::on(&server).await;
    lock.acquire(A, "w1-1").await.unwrap();
    lock.acquire(B, "r1-1").await.unwrap();
    let _: i64 = lock.ask(&["DEL", "{x}:word"]).await;
    // Two ranges need the full state.
    let arguments = [B, "-", ANY_TIME, "1", LONG, LEASE, "w2-2", "r3-3"];
    let reply = lock.eval(ACQUIRE, &arguments).await.unwrap();
    assert_eq!(ranges(&reply), ["w2-2", "r3-3"], "{reply}");
}

#[tokio::test]
async fn a_place_in_the_queue_without_a_record_is_skipped() {
    let server = Server::start().await;
    let lock = Lock::on(&server).await;
    lock.acquire(A, "w1-1").await.unwrap();
    lock.acquire(B, "r1-1").await.unwrap();
    lock.acquire(C, "r1-1").await.unwrap();
    let _: i64 = lock.ask(&["HDEL", "{x}:records", B]).await;
    lock.release(A, "0").await;
    let reply = lock.heartbeat(C).await;
    assert!(reply.contains("r1-1@"), "{reply}");
}

/// Nobody will give back what keeps it out, so it has to know when that ends.
#[tokio::test]
async fn the_head_of_the_queue_is_told_of_min_hold() {
    let server = Server::start().await;
    let lock = Lock::on(&server).await;
    lock.acquire(A, "w1-1").await.unwrap();
    let arguments = [B, "c", ANY_TIME, "1", LONG, LEASE, "w1-1"];
    lock.eval(ACQUIRE, &arguments).await.unwrap();
    lock.release(A, LONG).await;
    let statistics: String = lock.ask(&["INFO", "commandstats"]).await;
    assert!(
        statistics.contains("cmdstat_publish:calls=1,"),
        "{statistics}"
    );
}

/// What is done for others in one call is bounded; the reply says that there is more to do.
#[tokio::test]
async fn a_call_that_leaves_something_to_do_says_so() {
    let server = Server::start().await;
    let lock = Lock::on(&server).await;
    let says_more = |reply: &str| {
        reply
            .split(' ')
            .nth(3)
            .is_some_and(|word| word.contains('m'))
    };
    for are_dead in [false, true] {
        lock.acquire(A, "w1-1").await.unwrap();
        let sessions: Vec<_> = (100..250).map(|n| format!("{n:032x}")).collect();
        for session in &sessions {
            lock.acquire(session, "r1-1").await.unwrap();
        }
        for session in sessions.iter().filter(|_| are_dead) {
            let _: i64 = lock.ask(&["ZADD", "{x}:waiters", "1", session]).await;
        }
        let reply = if are_dead {
            lock.heartbeat(A).await
        } else {
            lock.release(A, "0").await
        };
        assert!(says_more(&reply), "{reply}");
        assert!(!says_more(&lock.heartbeat(B).await));
        let () = lock.ask(&["FLUSHALL"]).await;
    }
}

/// A session whose connection is gone hears nothing: it keeps its place, and the next one is granted the lock.
#[tokio::test]
async fn whoever_does_not_hear_is_passed_over() {
    let server = Server::start().await;
    let lock = Lock::on(&server).await;
    lock.acquire(A, "w1-1").await.unwrap();
    let hears = [B, "p", ANY_TIME, "1", LONG, LEASE, "w1-1"];
    lock.eval(ACQUIRE, &hears).await.unwrap();
    lock.acquire(C, "w1-1").await.unwrap();
    lock.release(A, "0").await;
    assert!(lock.heartbeat(C).await.contains("w1-1@"));
    assert!(!lock.heartbeat(B).await.contains('@'));
    lock.release(C, "0").await;
    // It is back, or rather: its heartbeat shows that it is.
    assert!(lock.heartbeat(B).await.contains("w1-1@"));
    lock.release(B, "0").await;
}
