//! Arguments are dropped as they would be without the attribute, and before the lock is given back.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use async_trait::async_trait;
use redis_lock::{Error, Locker, redis_lock, with_locker};

use super::{is_locked, start};

/// Says when it is dropped.
struct Told(&'static str, std::sync::mpsc::Sender<&'static str>);

impl Drop for Told {
    fn drop(&mut self) {
        self.1.send(self.0).expect("a listener");
    }
}

/// Looks on its way out whether the lock is still held, on a thread of its own, as `drop` cannot await.
struct Probe {
    server: String,
    held: Arc<AtomicUsize>,
}

impl Drop for Probe {
    fn drop(&mut self) {
        let (server, held) = (self.server.clone(), Arc::clone(&self.held));
        let look = async move {
            let locker = Locker::connect(&server).await.expect("a locker");
            if is_locked(&locker, "drop").await {
                held.fetch_add(1, SeqCst);
            }
        };
        let look = move || {
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime")
                .block_on(look);
        };
        std::thread::spawn(look).join().expect("no panic");
    }
}

#[redis_lock(key = "drop")]
async fn drop_in_order(
    first: Told,
    (second, third): (Told, Told),
    _fourth: Told,
) -> Result<(), Error> {
    // Uses them in another order, and one of them not at all.
    let _ = (&second.0, &first.0);
    let _ = third.0;
    Ok(())
}

#[redis_lock(key = "drop")]
#[allow(
    unused_variables,
    reason = "arguments that the body does not mention are treated otherwise"
)]
async fn mention_one(first: Told, second: Told, third: Told) -> Result<(), Error> {
    let _ = &second;
    Ok(())
}

#[tokio::test]
async fn arguments_that_are_not_mentioned_are_dropped_in_their_turn() {
    let (_server, locker) = start().await;
    let (sender, dropped) = std::sync::mpsc::channel();
    let told = |name| Told(name, sender.clone());
    let under_lock = mention_one(told("1"), told("2"), told("3"));
    with_locker(locker, under_lock).await.expect("the lock");
    assert_eq!(dropped.try_iter().collect::<Vec<_>>(), ["3", "2", "1"]);
}

#[tokio::test]
async fn arguments_are_dropped_as_without_the_attribute() {
    #[expect(clippy::unused_async, reason = "it is compared with an async fn")]
    async fn plain(first: Told, (second, third): (Told, Told), _fourth: Told) {
        let _ = (&second.0, &first.0);
        let _ = third.0;
    }

    let (_server, locker) = start().await;
    let (sender, dropped) = std::sync::mpsc::channel();
    let told = |name| Told(name, sender.clone());
    plain(told("1"), (told("2"), told("3")), told("4")).await;
    let expected: Vec<_> = dropped.try_iter().collect();
    assert_eq!(expected.len(), 4);

    let under_lock = drop_in_order(told("1"), (told("2"), told("3")), told("4"));
    with_locker(locker, under_lock).await.expect("the lock");
    assert_eq!(dropped.try_iter().collect::<Vec<_>>(), expected);
}

#[redis_lock(key = "drop")]
async fn hold_probes(
    used: Probe,
    _ignored: Probe,
    #[allow(unused_variables, reason = "it is there to be dropped")] unused: Probe,
) -> Result<(), Error> {
    assert!(!used.server.is_empty());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn arguments_are_dropped_under_the_lock() {
    let (server, locker) = start().await;
    let held = Arc::new(AtomicUsize::new(0));
    let probe = || Probe {
        server: server.url(),
        held: Arc::clone(&held),
    };
    with_locker(locker.clone(), hold_probes(probe(), probe(), probe()))
        .await
        .expect("the lock");
    assert_eq!(held.load(SeqCst), 3);
    assert!(!is_locked(&locker, "drop").await);
}

#[async_trait]
trait Hold {
    async fn hold(&self, used: Probe, unused: Probe) -> Result<(), Error>;
}

#[async_trait]
impl Hold for () {
    #[redis_lock(key = "drop")]
    async fn hold(&self, used: Probe, _unused: Probe) -> Result<(), Error> {
        assert!(!used.server.is_empty());
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn arguments_under_async_trait_are_dropped_under_the_lock() {
    let (server, locker) = start().await;
    let held = Arc::new(AtomicUsize::new(0));
    let probe = || Probe {
        server: server.url(),
        held: Arc::clone(&held),
    };
    with_locker(locker.clone(), ().hold(probe(), probe()))
        .await
        .expect("the lock");
    assert_eq!(held.load(SeqCst), 2);
    assert!(!is_locked(&locker, "drop").await);
}
