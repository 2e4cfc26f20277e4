//! A type error is shown in the key it is about.

use redis_lock::{Error, redis_lock};

#[redis_lock(key = ["order:<id>", id])]
async fn ship(id: u64) -> Result<u64, Error> {
    Ok(id)
}

fn main() {}
