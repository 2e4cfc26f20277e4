//! What several of these files share: the times they allow, standing in line, polling by hand, and chance.

use std::future::{Future, poll_fn};
use std::hash::{BuildHasher, RandomState};
use std::task::Poll;
use std::time::Duration;

use rand::{SeedableRng, rngs::SmallRng};
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

/// How many stand in line, for whatever lock. The only thing here that knows how a queue looks in Redis.
pub(crate) async fn waiters(server: &Server) -> usize {
    let mut count = 0;
    for key in server.keys().await {
        if key.contains(":#q") {
            count += redis::cmd("ZCARD")
                .arg(key)
                .query_async::<usize>(&mut server.connection().await)
                .await
                .expect("ZCARD");
        }
    }
    count
}

/// Starts an acquisition, and returns when it stands in line.
pub(crate) async fn enqueue<T: Send + 'static>(
    server: &Server,
    acquisition: impl Future<Output = T> + Send + 'static,
) -> JoinHandle<T> {
    let before = waiters(server).await;
    let task = tokio::spawn(acquisition);
    eventually(SOON, "the newcomer stands in line", async || {
        waiters(server).await == before + 1
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
