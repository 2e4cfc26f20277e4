//! Lengths of time as people write them.
#![deny(warnings)]

use redis_lock::{Error, redis_lock};

#[redis_lock(key = "a", wait = "1h2m3s4ms", ttl = "500ms", max_hold = "90m")]
async fn units() -> Result<(), Error> {
    Ok(())
}

#[redis_lock(key = "a", wait = "forever")]
async fn forever() -> Result<(), Error> {
    Ok(())
}

#[redis_lock(key = "a", wait = "0s")]
async fn one_try() -> Result<(), Error> {
    Ok(())
}

pub fn main() {
    let _ = (units(), forever(), one_try());
}
