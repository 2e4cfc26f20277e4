//! The key is not positional.

use redis_lock::{Error, redis_lock};

#[redis_lock("order:<id>", mode = "r")]
async fn ship(id: u64) -> Result<u64, Error> {
    Ok(id)
}

fn main() {}
