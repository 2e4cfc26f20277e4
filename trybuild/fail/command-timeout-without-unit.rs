//! Seconds or milliseconds?

use redis_lock::{Error, redis_lock};

#[redis_lock(key = "order:<id>", command_timeout = 500)]
async fn ship(id: u64) -> Result<u64, Error> {
    Ok(id)
}

fn main() {}
