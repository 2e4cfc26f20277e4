//! Both modes are listed.

use redis_lock::{Error, redis_lock};

#[redis_lock(key = "order:<id>", mode = "x")]
async fn ship(id: u64) -> Result<u64, Error> {
    Ok(id)
}

fn main() {}
