//! It is the prefix of every name in Redis.

use redis_lock::{Error, redis_lock};

#[redis_lock(key = "order:<id>", namespace = "")]
async fn ship(id: u64) -> Result<u64, Error> {
    Ok(id)
}

fn main() {}
