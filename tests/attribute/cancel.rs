//! A body or a waiter that is cancelled, or that panics, leaves nothing behind.

use std::future::pending;
use std::time::Duration;

use redis_lock::{Error, redis_lock, with_locker};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::{LONG, is_free_soon, is_locked, start};

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

#[redis_lock(key = ["cancel:1", "cancel:2"], guard = _locks)]
async fn hold_both(entered: oneshot::Sender<()>) -> Result<(), Error> {
    entered.send(()).expect("a listener");
    pending().await
}

#[tokio::test]
async fn a_cancelled_body_gives_all_its_locks_back() {
    let (_server, locker) = start().await;
    let (entered, inside) = oneshot::channel();
    let task = tokio::spawn(with_locker(locker.clone(), hold_both(entered)));
    inside.await.expect("entered");
    assert!(is_locked(&locker, "cancel:1").await && is_locked(&locker, "cancel:2").await);
    task.abort();
    assert!(task.await.expect_err("aborted").is_cancelled());
    assert!(is_free_soon(&locker, "cancel:1").await && is_free_soon(&locker, "cancel:2").await);
}

#[tokio::test]
async fn a_waiter_for_the_second_lock_gives_the_first_back() {
    let (_server, locker) = start().await;
    let holder = locker.write("cancel:2").await.expect("the lock");
    let (entered, inside) = oneshot::channel();
    let waiting = tokio::spawn(with_locker(locker.clone().wait(LONG), hold_both(entered)));
    timeout(Duration::from_millis(200), inside)
        .await
        .expect_err("still waiting");
    assert!(is_locked(&locker, "cancel:1").await);
    waiting.abort();
    assert!(is_free_soon(&locker, "cancel:1").await);
    holder.unlock().await.expect("unlocked");
    assert!(is_free_soon(&locker, "cancel:2").await);
}
