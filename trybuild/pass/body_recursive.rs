//! A function that calls itself.
#![deny(warnings)]

use redis_lock::{Error, redis_lock};

#[redis_lock(key = "<n>")]
async fn recursive(n: u64) -> Result<u64, Error> {
    if n == 0 {
        return Ok(0);
    }
    Ok(Box::pin(recursive(n - 1)).await? + 1)
}

pub fn main() {
    drop(recursive(1));
}
