//! The body cannot reach what the attribute puts around it.

use redis_lock::{Error, redis_lock};

#[redis_lock(key = "order:<id>")]
async fn ship(id: u64) -> Result<u64, Error> {
    let _ = (redis_lock_keys, redis_lock_options, redis_lock_returned);
    Ok(id)
}

fn main() {}
