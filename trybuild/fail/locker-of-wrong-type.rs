//! A type error is shown in the expression.

use redis_lock::{Error, redis_lock};

#[redis_lock(key = "order:<id>", locker = id)]
async fn ship(id: u64) -> Result<u64, Error> {
    Ok(id)
}

fn main() {}
