//! Each option stands once.

use redis_lock::{Error, redis_lock};

#[redis_lock(key = "order:<id>", mode = "r", mode = "w")]
async fn ship(id: u64) -> Result<u64, Error> {
    Ok(id)
}

fn main() {}
