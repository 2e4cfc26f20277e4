//! The nearest option is suggested, and all are listed.

use redis_lock::{Error, redis_lock};

#[redis_lock(keys = "order:<id>", key = "order:<id>", timeout = "1s")]
async fn ship(id: u64) -> Result<u64, Error> {
    Ok(id)
}

fn main() {}
