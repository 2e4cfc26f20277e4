//! Nothing says what is locked.

use redis_lock::{Error, redis_lock};

#[redis_lock]
async fn ship(id: u64) -> Result<u64, Error> {
    Ok(id)
}

fn main() {}
