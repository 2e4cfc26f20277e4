//! An expression that is no mode.

use redis_lock::{Error, redis_lock};

#[redis_lock(key = "order:<id>", mode = id)]
async fn ship(id: u64) -> Result<u64, Error> {
    Ok(id)
}

fn main() {}
