//! What several of these files share: the times they allow, standing in line, polling by hand, and chance.

use std::future::{Future, poll_fn};
use std::hash::{BuildHasher, RandomState};
use std::task::Poll;
use std::time::Duration;

use rand::{SeedableRng, rngs::SmallRng};
use redis::FromRedisValue;
use redis_lock::Locker;
use redis_lock_tests::{Server, eventually};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Long enough for anything that happens at all, on a busy machine with two cores.
pub(crate) const SOON: Duration = Duration::from_secs(10);
/// A lease that does not end within a test: what becomes free was given back.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// A Locker with a connection of its own, whose locks do not end by themselves within a test.
pub(crate) async fn locker(url: &str) -> Locker {
    let locker = Locker::connect(url).await.expect("the server answers");
    locker.ttl(LONG).wait(LONG)
}

/// How many wait, for whatever lock. The only thing here that knows how a queue looks in Redis: a session's ranges of tickets,
/// and behind the first ticket of a writer's grant those that are next in the same process. Tickets whose task has left are
/// among them until their turn would have come.
pub(crate) async fn waiters(server: &Server) -> usize {
    count(server, true).await
}

/// How many wait in the queue, for whatever lock: without those that have been granted it together with one who holds.
pub(crate) async fn queued(server: &Server) -> usize {
    count(server, false).await
}

async fn count(server: &Server, with_granted: bool) -> usize {
    let mut connection = server.connection().await;
    let mut count = 0;
    for key in server.keys().await {
        let mut ranges: Vec<String> = Vec::new();
        if key.contains(":#g") {
            let mut get = redis::cmd("GET");
            let word: Option<String> = get
                .arg(key)
                .query_async(&mut connection)
                .await
                .expect("GET");
            ranges.extend(word.unwrap_or_default().split(' ').map(str::to_owned));
        } else if key.contains(":#r") {
            let mut all = redis::cmd("HVALS");
            let records: Vec<String> = all
                .arg(key)
                .query_async(&mut connection)
                .await
                .expect("HVALS");
            ranges.extend(
                records
                    .iter()
                    .flat_map(|record| record.split(' '))
                    .map(str::to_owned),
            );
        }
        let counted = ranges
            .iter()
            .filter(|range| with_granted || !range.contains('@'));
        count += counted.filter_map(|range| waiting(range)).sum::<usize>();
    }
    count
}

/// How many wait with this range of tickets, such as `w5-9`, or `w5-9@<token>~0` if it is granted.
fn waiting(range: &str) -> Option<usize> {
    let (mode, tickets) = range.split_at_checked(1)?;
    let (tickets, grant) = match tickets.split_once('@') {
        Some((tickets, _)) => (tickets, true),
        None => (tickets, false),
    };
    let (from, to) = tickets.split_once('-')?;
    let behind = to.parse::<usize>().ok()? - from.parse::<usize>().ok()?;
    match (mode, grant) {
        ("w", true) => Some(behind),
        ("r" | "w", false) => Some(behind + 1),
        _ => None,
    }
}

/// Starts an acquisition, and returns when it stands in line.
pub(crate) async fn enqueue<T: Send + 'static>(
    server: &Server,
    acquisition: impl Future<Output = T> + Send + 'static,
) -> JoinHandle<T> {
    let before = waiters(server).await;
    let task = tokio::spawn(acquisition);
    eventually(SOON, "the newcomer stands in line", async || {
        waiters(server).await > before
    })
    .await;
    task
}

/// What the task returns.
pub(crate) async fn soon<T>(task: JoinHandle<T>) -> T {
    let ended = timeout(SOON, task).await;
    ended.expect("the task ends").expect("it does not panic")
}

/// Waits until Redis knows of no lock any more.
pub(crate) async fn nothing_is_left(server: &Server) {
    eventually(SOON, "no key is left", async || {
        server.keys().await.is_empty()
    })
    .await;
}

/// Polls a future at most so many times, each time when it has asked for it, and then drops it at once.
pub(crate) async fn poll_times<F: Future>(times: usize, future: F) -> Option<F::Output> {
    let mut future = Box::pin(future);
    let mut left = times;
    poll_fn(move |context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match future.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// Chance that can be repeated: the seed is printed, and is taken from `SEED` if that is set.
pub(crate) fn chance() -> SmallRng {
    let seed = match std::env::var("SEED") {
        Ok(seed) => seed.parse().expect("SEED is a number"),
        Err(_) => RandomState::new().hash_one(()),
    };
    println!("SEED={seed}");
    SmallRng::seed_from_u64(seed)
}

/// How often scripts were called since the statistics were reset.
pub(crate) async fn calls(server: &Server) -> u64 {
    let calls = server.command_calls().await;
    let of = |name| calls.get(name).copied().unwrap_or(0);
    of("evalsha") + of("eval")
}

/// Waits until so many stand in line that began at the same time.
pub(crate) async fn all_in_line(server: &Server, count: usize) {
    eventually(SOON, "all stand in line", async || {
        waiters(server).await >= count
    })
    .await;
}

/// What the server answers to a command of the test's own.
pub(crate) async fn ask<T: FromRedisValue>(server: &Server, words: &[&str]) -> T {
    let mut command = redis::cmd(words[0]);
    command.arg(&words[1..]);
    let answer = command.query_async(&mut server.connection().await).await;
    answer.expect("the server answers")
}

/// How long the leases of a lock's holders go on, while others wait for it: first the one that ends first. As `waiters`,
/// it knows how that looks in Redis.
pub(crate) async fn leases(server: &Server, key: &str) -> Vec<Duration> {
    let mut pipe = redis::pipe();
    pipe.cmd("TIME").cmd("ZRANGE");
    pipe.arg(format!("lock:#h:{{{key}}}")).arg(0).arg(-1);
    pipe.arg("WITHSCORES");
    let ((seconds, micros), holders): ((f64, f64), Vec<(String, f64)>) = pipe
        .query_async(&mut server.connection().await)
        .await
        .expect("the server answers");
    let now = seconds.mul_add(1e6, micros);
    let left = |(_, end): &(String, f64)| Duration::from_secs_f64((end - now).max(0.0) / 1e6);
    holders.iter().map(left).collect()
}

/// How long the lease goes on that ends last.
pub(crate) async fn lease_left(server: &Server, key: &str) -> Duration {
    leases(server, key).await.pop().unwrap_or_default()
}
