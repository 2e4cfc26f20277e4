//! An expression of another type.

use redis_lock::{Error, redis_lock};

#[redis_lock(key = "order:<id>", namespace = id)]
async fn ship(id: u64) -> Result<u64, Error> {
    Ok(id)
}

fn main() {}
