//! A literal of another kind.

use redis_lock::{Error, redis_lock};

#[redis_lock(key = "order:<id>", namespace = 7)]
async fn ship(id: u64) -> Result<u64, Error> {
    Ok(id)
}

fn main() {}
