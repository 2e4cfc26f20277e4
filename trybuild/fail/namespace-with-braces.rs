//! Braces mark the hash tag, which is the key.

use redis_lock::{Error, redis_lock};

#[redis_lock(key = "order:<id>", namespace = "shop:{eu}")]
async fn ship(id: u64) -> Result<u64, Error> {
    Ok(id)
}

fn main() {}
