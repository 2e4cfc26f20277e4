//! A mode is a string.

use redis_lock::{Error, redis_lock};

#[redis_lock(key = "order:<id>", mode = 1)]
async fn ship(id: u64) -> Result<u64, Error> {
    Ok(id)
}

fn main() {}
