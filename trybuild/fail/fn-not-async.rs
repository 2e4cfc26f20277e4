//! A lock is waited for.

use redis_lock::{Error, redis_lock};

#[redis_lock(key = "order:<id>")]
fn ship(id: u64) -> Result<u64, Error> {
    Ok(id)
}

fn main() {}
