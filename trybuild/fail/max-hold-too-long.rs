//! Longer than a year.

use redis_lock::{Error, redis_lock};

#[redis_lock(key = "order:<id>", max_hold = "9000h")]
async fn ship(id: u64) -> Result<u64, Error> {
    Ok(id)
}

fn main() {}
