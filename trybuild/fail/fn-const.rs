//! A constant cannot be waited for.

use redis_lock::{Error, redis_lock};

#[redis_lock(key = "order:<id>")]
const fn ship(id: u64) -> Result<u64, Error> {
    Ok(id)
}

fn main() {}
