//! A key names something.

use redis_lock::{Error, redis_lock};

#[redis_lock(key = "")]
async fn ship(id: u64) -> Result<u64, Error> {
    Ok(id)
}

fn main() {}
