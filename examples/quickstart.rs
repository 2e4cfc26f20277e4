//! The quick start: five customers want three teapots, and each teapot is sold once.
//!
//! `cargo run --example quickstart` needs no server: the locks are in this process. With `REDIS_URL=redis://127.0.0.1:6379`
//! the same locks are in that Redis.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use anyhow::ensure;
use redis_lock::{Locker, redis_lock};
use tokio::task::JoinSet;
use tokio::time::sleep;

static TEAPOTS: AtomicU64 = AtomicU64::new(3);

/// While the body runs, nobody else sells this item. Without the lock all five customers would find three teapots.
#[redis_lock(key = "stock:<item>", wait = "5s", guard = lock)]
async fn sell(item: &str, customer: u64) -> anyhow::Result<bool> {
    let left = TEAPOTS.load(SeqCst);
    sleep(Duration::from_millis(50)).await; // the customer pays
    println!(
        "  customer {customer} has the lock with token {}: {left} left",
        lock.token()
    );
    TEAPOTS.store(left.saturating_sub(1), SeqCst);
    Ok(left > 0)
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let locker = if let Ok(url) = std::env::var("REDIS_URL") {
        println!("The locks are in Redis, at REDIS_URL.");
        Locker::connect(&*url).await?
    } else {
        println!("The locks are in this process. REDIS_URL=redis://... puts them in Redis.");
        Locker::in_process()
    };
    // Functions with the attribute use this Locker.
    redis_lock::init(locker.clone())?;

    println!("Five tasks call a function with the attribute, all at once:");
    let mut customers = JoinSet::new();
    for customer in 1..=5 {
        customers.spawn(sell("teapot", customer));
    }
    let mut sold = 0;
    for bought in customers.join_all().await {
        sold += u64::from(bought?);
    }
    println!("Sold: {sold}.");

    println!("Guards by hand:");
    let reader = locker.read("prices").await?;
    println!("  a reader has the lock with token {}", reader.token());
    let other_reader = locker.try_read("prices").await?;
    println!("  another reader is let in: {}", other_reader.is_some());
    let writer = locker.try_write("prices").await?;
    println!("  a writer is let in: {}", writer.is_some());
    ensure!(sold == 3 && other_reader.is_some() && writer.is_none());
    reader.unlock().await?;
    // A guard that is dropped gives its lock back in the background; `flush` waits for that.
    drop(other_reader);
    ensure!(locker.flush().await);

    println!("ok: three teapots were sold, once each; two readers shared a lock; no lock is left");
    Ok(())
}
