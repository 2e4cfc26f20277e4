//! No renewal fits in.

use redis_lock::{Error, redis_lock};

#[redis_lock(key = "order:<id>", ttl = "10ms")]
async fn ship(id: u64) -> Result<u64, Error> {
    Ok(id)
}

fn main() {}
