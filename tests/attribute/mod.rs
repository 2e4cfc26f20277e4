//! What `#[redis_lock]` does when it runs: who shuts out whom, for how long, and what is left when it ends early.

mod cancel;
mod exclusion;
mod guard;
mod keys;
mod options;
mod order;
mod outcome;
mod several_keys;
mod shapes;
mod size;

use std::time::{Duration, Instant};

use redis_lock::Locker;
use redis_lock_tests::Server;
use tokio::time::sleep;

/// Longer than anything here takes; a test that waits this long hangs.
const LONG: Duration = Duration::from_secs(10);

/// Shorter than any lease, longer than a release in the background takes.
const SOON: Duration = Duration::from_secs(2);

async fn start() -> (Server, Locker) {
    let server = Server::start().await;
    let locker = Locker::connect(server.url()).await.expect("a locker");
    (server, locker)
}

async fn is_locked(locker: &Locker, key: &str) -> bool {
    match locker.try_write(key).await.expect("an answer") {
        Some(guard) => {
            guard.unlock().await.expect("unlocked");
            false
        }
        None => true,
    }
}

/// Until a release in the background has arrived.
async fn is_free_soon(locker: &Locker, key: &str) -> bool {
    let deadline = Instant::now() + SOON;
    while Instant::now() < deadline {
        if !is_locked(locker, key).await {
            return true;
        }
        sleep(Duration::from_millis(5)).await;
    }
    false
}

/// As another task would see it, as what a task holds itself may not be in its way.
async fn is_locked_elsewhere(locker: &Locker, key: &str) -> bool {
    let (locker, key) = (locker.clone(), key.to_owned());
    let look = tokio::spawn(async move { is_locked(&locker, &key).await });
    look.await.expect("no panic")
}
