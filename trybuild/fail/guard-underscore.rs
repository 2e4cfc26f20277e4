//! A guard that has no name is not needed.

use redis_lock::{Error, redis_lock};

#[redis_lock(key = "order:<id>", guard = _)]
async fn ship(id: u64) -> Result<(), Error> {
    Ok(())
}

fn main() {}
