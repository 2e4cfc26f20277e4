//! The nearest name is suggested, and all are listed.

use redis_lock::{Error, redis_lock};

#[redis_lock(key = "order:<order_ids>:<region>")]
async fn ship(order_id: u64, n: u8) -> Result<u64, Error> {
    Ok(order_id + u64::from(n))
}

fn main() {}
