//! The Lua scripts, each alone on a real server: what they answer, and what they leave in Redis.

mod clock;
mod crowds;
mod leases;
mod leftovers;
mod model;
mod queue;
mod refusals;
mod runs;
mod tokens;
mod waiting;

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{FromRedisValue, RedisResult, Value};
use redis_lock_tests::{Server, eventually, unique_key};

const ACQUIRE: &str = include_str!("../redis-lock/src/script/acquire.lua");
const RELEASE: &str = include_str!("../redis-lock/src/script/release.lua");
const RENEW: &str = include_str!("../redis-lock/src/script/renew.lua");
const ASK: &str = include_str!("../redis-lock/src/script/wait.lua");
const BOOK: &str = include_str!("../redis-lock/src/script/book.lua");

/// A lease that does not end while a test runs, in ms.
const LONG: u64 = 60_000;
/// A waiter lease that does not either, and that cannot be taken for the other.
const WAIT: u64 = 40_000;
/// Waiter lease of a try.
const TRY: u64 = 0;
/// What a slow machine may take for a test, in ms.
const SLACK: u64 = 15_000;
/// Long enough for anything that happens at all.
const SOON: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    R,
    W,
}
use Mode::{R, W};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Acquired {
    Held { token: u64 },
    Queued { place: u64, left: u64 },
    Busy { left: u64 },
}

impl Acquired {
    #[track_caller]
    fn token(self) -> u64 {
        match self {
            Acquired::Held { token } => token,
            other => panic!("not held but {other:?}"),
        }
    }

    #[track_caller]
    fn place(self) -> u64 {
        match self {
            Acquired::Queued { place, .. } => place,
            other => panic!("not queued but {other:?}"),
        }
    }

    #[track_caller]
    fn busy(self) -> u64 {
        match self {
            Acquired::Busy { left } => left,
            other => panic!("not busy but {other:?}"),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Nothing,
    Hold,
    Place,
}

/// One lock on a server. After each call it looks whether all its keys have a TTL.
#[derive(Clone)]
struct Lock {
    con: MultiplexedConnection,
    /// Gate, holders, queue, waiters, records.
    names: [String; 5],
    /// Published to when a waiter is granted, if not empty.
    channel: String,
}

impl Lock {
    async fn on(server: &Server) -> Self {
        Self::with(server.connection().await)
    }

    fn with(con: MultiplexedConnection) -> Self {
        let key = unique_key();
        let names = ["g", "h", "q", "w", "r"].map(|role| format!("lock:#{role}:{{{key}}}"));
        Lock {
            con,
            names,
            channel: String::new(),
        }
    }

    fn gate(&self) -> &str {
        &self.names[0]
    }

    async fn try_acquire(
        &self,
        id: &str,
        mode: Mode,
        ttl: u64,
        lease: u64,
    ) -> RedisResult<Acquired> {
        let mode = if mode == R { "r" } else { "w" };
        let (ttl, lease) = (ttl.to_string(), lease.to_string());
        let value = self
            .eval(ACQUIRE, &[id, mode, &ttl, &lease, &self.channel])
            .await?;
        let reply = <Vec<i64>>::from_redis_value(value)?;
        let number = |n: i64| u64::try_from(n).expect("not negative");
        Ok(match reply[..] {
            [1, token] => Acquired::Held {
                token: number(token),
            },
            [0, place, left] => Acquired::Queued {
                place: number(place),
                left: number(left),
            },
            [-1, left] => Acquired::Busy { left: number(left) },
            _ => panic!("{reply:?}"),
        })
    }

    async fn acquire(&self, id: &str, mode: Mode, ttl: u64, lease: u64) -> Acquired {
        self.try_acquire(id, mode, ttl, lease).await.unwrap()
    }

    /// Takes it for long, and must get it.
    async fn take(&self, id: &str, mode: Mode) -> u64 {
        self.acquire(id, mode, LONG, WAIT).await.token()
    }

    /// Asks for several that wait in one process, and says which place the first has that waits yet, how long the holders'
    /// leases last, and who holds, with its token.
    async fn try_ask(
        &self,
        lease: u64,
        waiters: &[(&str, Mode)],
    ) -> RedisResult<(i64, u64, Vec<(String, u64)>)> {
        let lease = lease.to_string();
        let mut args = vec![lease.as_str(), &self.channel];
        for (id, mode) in waiters {
            args.extend([*id, if *mode == R { "r" } else { "w" }]);
        }
        let reply = <Vec<Value>>::from_redis_value(self.eval(ASK, &args).await?)?;
        let [place, left, as_of, holders @ ..] = &reply[..] else {
            panic!("{reply:?}")
        };
        let mut granted = Vec::new();
        for pair in holders.chunks(2) {
            let id = String::from_redis_value_ref(&pair[0])?;
            granted.push((id, u64::from_redis_value_ref(&pair[1])?));
        }
        let place = i64::from_redis_value_ref(place)?;
        let as_of = u64::from_redis_value_ref(as_of)?;
        assert!(granted.iter().all(|(_, token)| *token <= as_of));
        Ok((place, u64::from_redis_value_ref(left)?, granted))
    }

    /// The heartbeat of waiters that an earlier reply told of: who is queued or holds, in the same order as `try_ask`,
    /// and which of them are unknown.
    async fn beat(&self, ids: &[&str]) -> (i64, Vec<String>) {
        let lease = WAIT.to_string();
        let mut args = vec![lease.as_str(), &self.channel];
        for id in ids {
            args.extend([*id, "="]);
        }
        let reply = self.eval(ASK, &args).await.unwrap();
        let reply = <Vec<Value>>::from_redis_value(reply).unwrap();
        let [place, _, _, rest @ ..] = &reply[..] else {
            panic!("{reply:?}")
        };
        let mut unknown = Vec::new();
        for pair in rest.chunks(2) {
            if i64::from_redis_value_ref(&pair[1]).unwrap() == -1 {
                unknown.push(String::from_redis_value_ref(&pair[0]).unwrap());
            }
        }
        unknown.sort_unstable();
        (i64::from_redis_value_ref(place).unwrap(), unknown)
    }

    async fn ask_for(&self, waiters: &[(&str, Mode)]) -> (i64, u64, Vec<(String, u64)>) {
        self.try_ask(WAIT, waiters).await.unwrap()
    }

    /// Must get a place in the queue, and says which.
    async fn wait(&self, id: &str, mode: Mode) -> u64 {
        self.acquire(id, mode, LONG, WAIT).await.place()
    }

    async fn try_release(&self, id: &str) -> RedisResult<(Found, Vec<String>)> {
        released(self.eval(RELEASE, &[id]).await?)
    }

    async fn release(&self, id: &str) -> (Found, Vec<String>) {
        self.try_release(id).await.unwrap()
    }

    /// Gives a hold up, and says who has it then.
    async fn hand_over(&self, id: &str) -> Vec<String> {
        let (found, granted) = self.release(id).await;
        assert_eq!(found, Found::Hold);
        granted
    }

    /// Gives up what several have that were let in together.
    async fn retire(&self, ids: &[&str]) -> (Found, Vec<String>) {
        let reply = self.eval(RELEASE, ids).await.unwrap();
        released(reply).unwrap()
    }

    /// Sets the lease of a holder, and of those behind it in its run.
    async fn renew_run(&self, ids: &[&str], ttl: u64) -> bool {
        let ttl = ttl.to_string();
        let mut args = vec![ids[0], &ttl, &ttl];
        args.extend(&ids[1..]);
        bool::from_redis_value(self.eval(RENEW, &args).await.unwrap()).unwrap()
    }

    async fn try_renew(&self, id: &str, ttl: u64) -> RedisResult<bool> {
        bool::from_redis_value(self.eval(RENEW, &[id, &ttl.to_string()]).await?).map_err(Into::into)
    }

    async fn renew(&self, id: &str, ttl: u64) -> bool {
        self.try_renew(id, ttl).await.unwrap()
    }

    /// Sends the source, not the hash: no test then depends on what another one loaded.
    async fn eval(&self, script: &str, args: &[&str]) -> RedisResult<Value> {
        let mut command = redis::cmd("EVAL");
        command.arg(script.replace("--@book", BOOK)).arg(5);
        command.arg(&self.names).arg(args);
        let reply = command.query_async(&mut self.con.clone()).await;
        for (name, ttl) in self.ttls().await {
            assert_ne!(ttl, -1, "{name} has no TTL after {args:?}: {reply:?}");
        }
        reply
    }

    async fn ttls(&self) -> Vec<(&String, i64)> {
        let mut pipe = redis::pipe();
        for name in &self.names {
            pipe.cmd("PTTL").arg(name);
        }
        let ttls: Vec<i64> = pipe.query_async(&mut self.con.clone()).await.unwrap();
        self.names.iter().zip(ttls).collect()
    }

    /// What one of the keys has left, in ms; negative if it is not there.
    async fn ttl(&self, role: usize) -> i64 {
        self.ttls().await[role].1
    }

    /// A command of the test's own.
    async fn ask<T: FromRedisValue>(&self, words: &[&str]) -> T {
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        command.query_async(&mut self.con.clone()).await.unwrap()
    }

    async fn score(&self, role: usize, id: &str) -> Option<u64> {
        let score: Option<f64> = self.ask(&["ZSCORE", &self.names[role], id]).await;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "whole, in µs"
        )]
        score.map(|score| score as u64)
    }

    /// How long a lease in the book lasts, in ms from the server's now.
    async fn lease(&self, role: usize, id: &str) -> Option<u64> {
        let deadline = self.score(role, id).await?;
        Some(deadline.saturating_sub(self.now().await) / 1000)
    }

    /// The server's clock, in µs.
    async fn now(&self) -> u64 {
        let (seconds, micros): (u64, u64) = self.ask(&["TIME"]).await;
        seconds * 1_000_000 + micros
    }

    /// Everything that the lock has in Redis, for comparison. Without the TTLs.
    async fn dump(&self) -> Vec<Option<Vec<u8>>> {
        let mut pipe = redis::pipe();
        for name in &self.names {
            pipe.cmd("DUMP").arg(name);
        }
        pipe.query_async(&mut self.con.clone()).await.unwrap()
    }

    /// Must be empty at once, but for the marker that a release leaves for milliseconds.
    async fn assert_idle(&self) {
        let gate: Option<String> = self.ask(&["GET", self.gate()]).await;
        assert!(gate.is_none_or(|gate| gate.starts_with("F ")));
        assert!(self.ttl(0).await <= 3);
        let mut count = vec!["EXISTS"];
        count.extend(self.names[1..].iter().map(String::as_str));
        assert_eq!(self.ask::<u64>(&count).await, 0, "the book is still there");
        eventually(SOON, "nothing is left", async || {
            self.ask::<u64>(&["DBSIZE"]).await == 0
        })
        .await;
    }
}

fn released(reply: Value) -> RedisResult<(Found, Vec<String>)> {
    let mut reply = <Vec<String>>::from_redis_value(reply)?;
    let found = match reply.remove(0).as_str() {
        "0" => Found::Nothing,
        "1" => Found::Hold,
        "2" => Found::Place,
        other => panic!("{other}"),
    };
    Ok((found, reply))
}

/// Not more than it was a moment ago, and not much less.
#[track_caller]
fn assert_nearly(ms: u64, whole: u64) {
    assert!(
        (whole - SLACK..=whole + 2).contains(&ms),
        "{ms} ms of {whole}"
    );
}

#[test]
fn headers_name_every_argument_and_every_key() {
    // The lines of a comment that begin, behind `word` or blanks, with the next number.
    let documented = |text: &str, word: &str| {
        let start = text.find(word).expect(word);
        text[start + word.len()..]
            .lines()
            .map_while(|line| line.strip_prefix("-- ").or(Some(line)))
            .take_while(|line| !line.starts_with("Returns") && !line.starts_with("Keys"))
            .filter_map(|line| line.split_whitespace().next()?.parse::<usize>().ok())
            .collect::<Vec<_>>()
    };
    let used = |text: &str, word: &str| {
        (1..10)
            .filter(|n| text.contains(&format!("{word}[{n}]")))
            .collect::<Vec<_>>()
    };
    for script in [ACQUIRE, ASK, RELEASE, RENEW] {
        assert_eq!(
            documented(script, "-- ARGV"),
            used(script, "ARGV"),
            "{script}"
        );
    }
    assert_eq!(documented(BOOK, "-- KEYS of"), [1, 2, 3, 4, 5]);
    assert_eq!(used(&(ACQUIRE.to_owned() + BOOK), "KEYS"), [1, 2, 3, 4, 5]);
}
