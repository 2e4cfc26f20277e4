//! A key is a string.

use redis_lock::{Error, redis_lock};

#[redis_lock(key = 42)]
async fn ship(id: u64) -> Result<u64, Error> {
    Ok(id)
}

fn main() {}
