//! Longer than a year.

use redis_lock::{Error, redis_lock};

#[redis_lock(key = "order:<id>", wait = "8761h")]
async fn ship(id: u64) -> Result<u64, Error> {
    Ok(id)
}

fn main() {}
