//! What `#[redis_lock]` does when it runs: who shuts out whom, for how long, and what is left when it ends early.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use redis_lock::{Error, Key, Locker, redis_lock, with_locker};
use redis_lock_tests::Server;
use tokio::sync::{Barrier, oneshot};
use tokio::time::{sleep, timeout};

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

#[redis_lock(key = "count:<id>", wait = "10s")]
async fn count(id: u64, inside: &AtomicUsize, most: &AtomicUsize) -> Result<(), Error> {
    most.fetch_max(inside.fetch_add(1, SeqCst) + 1, SeqCst);
    sleep(Duration::from_millis(5)).await;
    inside.fetch_sub(1, SeqCst);
    Ok(())
}

#[tokio::test]
async fn one_at_a_time_for_each_value_of_the_key() {
    let (_server, locker) = start().await;
    let (inside, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let (inside, most) = (Arc::clone(&inside), Arc::clone(&most));
            tokio::spawn(with_locker(locker.clone(), async move {
                count(1, &inside, &most).await
            }))
        })
        .collect();
    for task in tasks {
        task.await.expect("no panic").expect("its turn");
    }
    assert_eq!(most.load(SeqCst), 1);
}

#[redis_lock(key = "meet:<id>", mode = "w", wait = "0s")]
async fn meet(id: u64, other: &Barrier) -> Result<(), Error> {
    other.wait().await;
    Ok(())
}

#[tokio::test]
async fn different_values_do_not_shut_each_other_out() {
    let (_server, locker) = start().await;
    let barrier = Barrier::new(2);
    // Each waits inside for the other.
    let both = async { tokio::join!(meet(1, &barrier), meet(2, &barrier)) };
    let both = timeout(LONG, with_locker(locker, both));
    assert!(matches!(both.await, Ok((Ok(()), Ok(())))));
}

#[redis_lock(key = "read", mode = "r", wait = "0s")]
async fn read_together(others: &Barrier) -> Result<(), Error> {
    others.wait().await;
    Ok(())
}

#[redis_lock(key = "read", mode = "r", wait = "0s")]
async fn read() -> Result<(), Error> {
    Ok(())
}

#[tokio::test]
async fn readers_share_and_a_writer_shuts_them_out() {
    let (_server, locker) = start().await;
    let barrier = Barrier::new(3);
    let all = async {
        tokio::join!(
            read_together(&barrier),
            read_together(&barrier),
            read_together(&barrier)
        )
    };
    let all = timeout(LONG, with_locker(locker.clone(), all)).await;
    assert!(matches!(all, Ok((Ok(()), Ok(()), Ok(())))), "{all:?}");

    let writer = locker.write("read").await.expect("the lock");
    let error = with_locker(locker, read()).await.expect_err("a writer");
    assert!(error.is_contended(), "{error}");
    writer.unlock().await.expect("unlocked");
}

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

#[redis_lock(key = "wait", wait = "200ms")]
async fn wait_fixed() -> Result<(), Error> {
    Ok(())
}

#[redis_lock(key = "wait", wait = limit)]
async fn wait_given(limit: Duration) -> Result<(), Error> {
    Ok(())
}

#[redis_lock(key = "wait", wait = "forever")]
async fn wait_forever() -> Result<(), Error> {
    Ok(())
}

#[tokio::test]
async fn waits_as_long_as_it_says() {
    let (_server, locker) = start().await;
    let holder = locker.write("wait").await.expect("the lock");
    let locker = locker.wait(LONG);

    let begun = Instant::now();
    let error = with_locker(locker.clone(), wait_fixed())
        .await
        .expect_err("contended");
    assert!(error.is_contended(), "{error}");
    let waited = begun.elapsed();
    assert!(
        waited >= Duration::from_millis(200) && waited < SOON,
        "{waited:?}"
    );

    let begun = Instant::now();
    let error = with_locker(locker.clone(), wait_given(Duration::ZERO))
        .await
        .expect_err("contended");
    assert!(error.is_contended(), "{error}");
    assert!(begun.elapsed() < SOON);

    // Longer than its locker would.
    let waiter = tokio::spawn(with_locker(locker.wait(Duration::ZERO), wait_forever()));
    sleep(Duration::from_millis(100)).await;
    assert!(!waiter.is_finished());
    holder.unlock().await.expect("unlocked");
    let waited = timeout(SOON, waiter)
        .await
        .expect("in time")
        .expect("no panic");
    waited.expect("the lock");
}

#[redis_lock(key = "ttl", ttl = "300ms")]
async fn hold_for_a_short_lease() -> Result<(), Error> {
    pending().await
}

#[tokio::test]
async fn leases_as_long_as_it_says() {
    let (_server, locker) = start().await;
    // Without extension, the lease alone ends it: after the attribute's ttl, not the locker's.
    let begun = Instant::now();
    let locked = with_locker(
        locker.auto_extend(false).ttl(LONG),
        hold_for_a_short_lease(),
    );
    let error = timeout(SOON, locked)
        .await
        .expect("in time")
        .expect_err("lost");
    assert!(error.is_lost(), "{error}");
    assert!(begun.elapsed() > Duration::from_millis(100));
}

#[derive(Debug)]
enum ShopError {
    Lock(Error),
    SoldOut,
    Parse,
}

impl From<Error> for ShopError {
    fn from(error: Error) -> Self {
        Self::Lock(error)
    }
}

impl From<std::num::ParseIntError> for ShopError {
    fn from(_: std::num::ParseIntError) -> Self {
        Self::Parse
    }
}

#[redis_lock(key = "sell:<amount>")]
async fn sell(amount: &str) -> Result<u64, ShopError> {
    if amount.is_empty() {
        return Err(ShopError::SoldOut);
    }
    let amount = amount.parse::<u64>()?;
    if amount == 0 {
        return Ok(1);
    }
    Ok(amount * 2)
}

#[tokio::test]
async fn every_way_out_of_the_body_gives_its_value_and_the_lock_back() {
    let (_server, locker) = start().await;
    let sell = async |amount: &'static str| with_locker(locker.clone(), sell(amount)).await;
    assert!(matches!(sell("21").await, Ok(42)));
    assert!(matches!(sell("0").await, Ok(1)));
    assert!(matches!(sell("x").await, Err(ShopError::Parse)));
    assert!(matches!(sell("").await, Err(ShopError::SoldOut)));
    for key in ["sell:21", "sell:0", "sell:x", "sell:"] {
        assert!(!is_locked(&locker, key).await, "{key}");
    }
}

#[tokio::test]
async fn the_locks_error_becomes_the_functions() {
    let (_server, locker) = start().await;
    let holder = locker.write("sell:1").await.expect("the lock");
    let sold = with_locker(locker.wait(Duration::ZERO), sell("1")).await;
    assert!(
        matches!(&sold, Err(ShopError::Lock(error)) if error.is_contended()),
        "{sold:?}"
    );
    holder.unlock().await.expect("unlocked");
}

/// No test of this program may call `redis_lock::init`, or this one could not see what happens without.
#[tokio::test]
async fn without_a_locker_the_body_does_not_run() {
    let sold = sell("1").await;
    assert!(
        matches!(sold, Err(ShopError::Lock(Error::NotInitialized))),
        "{sold:?}"
    );
}

#[redis_lock(key = name(made), wait = "5s")]
async fn key_by_a_function(made: &AtomicUsize) -> Result<(), Error> {
    sleep(Duration::from_millis(20)).await;
    Ok(())
}

fn name(made: &AtomicUsize) -> Key {
    made.fetch_add(1, SeqCst);
    Key::from("made")
}

#[tokio::test]
async fn the_key_is_made_once_and_not_before_the_first_poll() {
    let (_server, locker) = start().await;
    let made = AtomicUsize::new(0);
    let holder = locker.write("made").await.expect("the lock");
    let locked = key_by_a_function(&made);
    assert_eq!(made.load(SeqCst), 0);
    let later = async {
        sleep(Duration::from_millis(200)).await;
        holder.unlock().await.expect("unlocked");
    };
    let (locked, ()) = tokio::join!(with_locker(locker, locked), later);
    locked.expect("the lock");
    assert_eq!(made.load(SeqCst), 1);
}

#[redis_lock(key = "panic:<id>")]
async fn panic_inside(id: u64) -> Result<(), Error> {
    panic!("on purpose, {id}")
}

#[tokio::test]
async fn a_panic_in_the_body_gives_the_lock_back() {
    let (_server, locker) = start().await;
    let task = tokio::spawn(with_locker(locker.clone(), panic_inside(1)));
    assert!(task.await.expect_err("a panic").is_panic());
    assert!(is_free_soon(&locker, "panic:1").await);
}

#[redis_lock(key = "cancel")]
async fn never_ends(entered: oneshot::Sender<()>) -> Result<(), Error> {
    entered.send(()).expect("a listener");
    pending().await
}

#[tokio::test]
async fn a_cancelled_body_gives_the_lock_back() {
    let (_server, locker) = start().await;
    let (entered, inside) = oneshot::channel();
    let task = tokio::spawn(with_locker(locker.clone(), never_ends(entered)));
    inside.await.expect("entered");
    assert!(is_locked(&locker, "cancel").await);
    task.abort();
    assert!(task.await.expect_err("aborted").is_cancelled());
    assert!(is_free_soon(&locker, "cancel").await);
}

#[tokio::test]
async fn a_cancelled_waiter_leaves_the_queue() {
    let (_server, locker) = start().await;
    let holder = locker.write("cancel").await.expect("the lock");
    let (entered, inside) = oneshot::channel();
    let waiting = with_locker(locker.clone().wait(LONG), never_ends(entered));
    timeout(Duration::from_millis(100), waiting)
        .await
        .expect_err("still waiting");
    inside.await.expect_err("never entered");
    holder.unlock().await.expect("unlocked");
    assert!(is_free_soon(&locker, "cancel").await);
}

struct Shop {
    name: String,
    sold: u64,
}

impl Shop {
    #[redis_lock(key = "{<self.name>}:<<<id>>>")]
    async fn ship(&mut self, locker: &Locker, id: u64) -> Result<bool, Error> {
        self.sold += 1;
        // From another task, as what a task holds itself may not be in its way.
        let (locker, key) = (locker.clone(), format!("{{{}}}:<{id}>", self.name));
        let other = tokio::spawn(async move { is_locked(&locker, &key).await });
        Ok(other.await.expect("no panic"))
    }
}

#[tokio::test]
async fn the_key_is_what_the_template_says() {
    let (_server, locker) = start().await;
    let mut shop = Shop {
        name: "corner".to_owned(),
        sold: 0,
    };
    let outside = locker.clone();
    let shipped = with_locker(locker, shop.ship(&outside, 7)).await;
    assert!(matches!(shipped, Ok(true)), "{shipped:?}");
    assert_eq!(shop.sold, 1);
}
