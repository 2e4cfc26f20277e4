//! Braces are for format strings; here they are text.

use redis_lock::{Error, redis_lock};

#[redis_lock(key = "order:{id}")]
async fn ship(id: u64) -> Result<u64, Error> {
    Ok(id)
}

fn main() {}
