//! The body cannot reach what the attribute puts around it.

use redis_lock::{Error, redis_lock};

#[redis_lock(key = "order:<id>")]
async fn ship(id: u64) -> Result<u64, Error> {
    let _ = (keys, options, returned);
    Ok(id)
}

fn main() {}
