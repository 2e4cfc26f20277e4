//! Only in a list does each key have a mode of its own.

use redis_lock::{Error, redis_lock};

#[redis_lock(key = r("order:<id>"))]
async fn ship(id: u64) -> Result<u64, Error> {
    Ok(id)
}

fn main() {}
