//! The same with a format, and beside a place.

use redis_lock::{Error, redis_lock};

#[redis_lock(key = "<id>:{id:?}")]
async fn ship(id: u64) -> Result<u64, Error> {
    Ok(id)
}

fn main() {}
