//! A `#` ends the namespace in Redis.

use redis_lock::{Error, redis_lock};

#[redis_lock(key = "order:<id>", namespace = "shop#1")]
async fn ship(id: u64) -> Result<u64, Error> {
    Ok(id)
}

fn main() {}
