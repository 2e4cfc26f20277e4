//! More than 128 bytes.

use redis_lock::{Error, redis_lock};

#[redis_lock(key = "order:<id>", namespace = "shop:shop:shop:shop:shop:shop:shop:shop:shop:shop:shop:shop:shop:shop:shop:shop:shop:shop:shop:shop:shop:shop:shop:shop:shop:shop:")]
async fn ship(id: u64) -> Result<u64, Error> {
    Ok(id)
}

fn main() {}
