//! General usage: a lock held by hand. Needs a Redis at its default address, as in
//! `scripts/on-default-port cargo run --package redis-lock-examples --example general_usage`.

#![allow(
    unused_parens,
    clippy::ignored_unit_patterns,
    clippy::let_unit_value,
    clippy::needless_borrows_for_generic_args,
    clippy::uninlined_format_args,
    reason = "the example stands here word for word as in the documentation"
)]

use redis_lock::{Locker, Mode};

#[rustfmt::skip]
#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let cli = redis::Client::open("redis://127.0.0.1:6379")?;
    let con = redis::aio::ConnectionManager::new(cli).await?;
    let key: String = "lock_key".into();

    // Lock key with default write mode, and
    // the passive timeout will be automatically extend
    // util this lock unlocked.
    let w_unlock = Locker::new(con.clone()).lock(key.clone()).await?;

    // Do something with lock guard.
    for x in (1..10) {
        println!("{}", x);
    }

    // When key is locked in write mode, the other write or read lock should fail.
    assert!(Locker::new(con.clone()).mode(&Mode::W).lock(key.clone()).await.is_err());
    assert!(Locker::new(con.clone()).mode(&Mode::R).lock(key.clone()).await.is_err());

    // Explicit unlock is required.
    // In most cases you should ignore unlock errors.
    let _ = w_unlock.await?;

    Ok(())
}
