//! Closure usage: a lock held as long as a future runs. Needs a Redis at its default address, as in
//! `scripts/on-default-port cargo run --package redis-lock-examples --example closure_usage`.

#![allow(
    unused_imports,
    unused_parens,
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

    // Do something in closure with lock guard, no explicit unlock needed.
    // If the lock is successful, lock_exec finally returns
    // the return value of the closure.
    Locker::new(con.clone()).lock_exec(key.clone(), async {
        for x in (1..10) {
            println!("{}", x);
        }
        Ok(())
    }).await
}
