//! All units are listed.

use redis_lock::{Error, redis_lock};

#[redis_lock(key = "order:<id>", wait = "30sec")]
async fn ship(id: u64) -> Result<u64, Error> {
    Ok(id)
}

fn main() {}
