//! A guard's name is its own.

use redis_lock::{Error, redis_lock};

#[redis_lock(key = "order:<id>", guard = id)]
async fn ship(id: u64) -> Result<(), Error> {
    Ok(())
}

fn main() {}
