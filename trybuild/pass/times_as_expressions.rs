//! Lengths of time from arguments, constants and functions.
#![deny(warnings)]

use std::time::Duration;

use redis_lock::{Error, redis_lock};

const LEASE: Duration = Duration::from_secs(30);

#[redis_lock(key = "a", wait = limit, ttl = Duration::from_secs(factor * 2), max_hold = limit * 2)]
async fn arguments(limit: Duration, factor: u64) -> Result<(), Error> {
    Ok(())
}

#[redis_lock(key = "a", ttl = LEASE, max_hold = twice(LEASE), wait = redis_lock::Wait::Forever)]
async fn constants() -> Result<(), Error> {
    Ok(())
}

#[redis_lock(key = "a", wait = *limit)]
async fn borrowed(limit: &Duration) -> Result<Duration, Error> {
    Ok(*limit)
}

fn twice(time: Duration) -> Duration {
    time * 2
}

pub fn main() {
    let _ = (arguments(LEASE, 1), constants(), borrowed(&LEASE));
}
