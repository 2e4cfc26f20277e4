//! A key is a string of text.

use redis_lock::{Error, redis_lock};

#[redis_lock(key = b"order")]
async fn ship(id: u64) -> Result<u64, Error> {
    Ok(id)
}

fn main() {}
