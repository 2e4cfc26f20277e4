//! A free function, with every option and without.
#![deny(warnings)]

use std::time::Duration;

use redis_lock::{Error, redis_lock};

#[redis_lock(key = "orders")]
async fn text_only() -> Result<(), Error> {
    Ok(())
}

/// Docs and visibility stay.
#[redis_lock(key = "order:<id>", mode = "r", wait = "1m30s", ttl = "500ms",)]
pub async fn every_option(id: u64) -> Result<u64, Error> {
    Ok(id)
}

#[redis_lock(key = "order", mode = "read", wait = "forever")]
async fn forever() -> Result<(), Error> {
    Ok(())
}

#[redis_lock(key = "order", mode = "write", wait = "0s")]
async fn one_try() -> Result<(), Error> {
    Ok(())
}

#[redis_lock(key = "order", mode = "w", wait = limit, ttl = Duration::from_secs(factor * 2))]
async fn expressions(limit: Duration, factor: u64) -> Result<(), Error> {
    Ok(())
}

#[redis_lock(ttl = LEASE, key = "order", wait = redis_lock::Wait::Forever)]
async fn a_const_and_a_wait() -> Result<(), Error> {
    Ok(())
}

const LEASE: Duration = Duration::from_secs(30);

fn main() {
    let _ = (text_only(), every_option(1), forever(), one_try());
    let _ = (expressions(LEASE, 1), a_const_and_a_wait());
}
