//! The same with other options.

use redis_lock::{Error, redis_lock};

#[redis_lock(mode = "r", wait = "1s")]
async fn ship(id: u64) -> Result<u64, Error> {
    Ok(id)
}

fn main() {}
