//! It is a path, in quotes or not.

use redis_lock::{Error, redis_lock};

#[redis_lock(key = "order:<id>", crate = "redis-lock")]
async fn ship(id: u64) -> Result<(), Error> {
    Ok(())
}

#[redis_lock(key = "order", crate = 5)]
async fn unship() -> Result<(), Error> {
    Ok(())
}

fn main() {}
