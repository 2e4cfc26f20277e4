//! Who shuts out whom: by key and by mode.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use redis_lock::{Error, redis_lock, with_locker};
use tokio::sync::Barrier;
use tokio::time::{sleep, timeout};

use super::{LONG, start};

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
