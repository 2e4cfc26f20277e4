//! An expression is converted into a key, or is reported itself.

use redis_lock::{Error, redis_lock};

#[redis_lock(key = id)]
async fn ship(id: u64) -> Result<u64, Error> {
    Ok(id)
}

fn main() {}
