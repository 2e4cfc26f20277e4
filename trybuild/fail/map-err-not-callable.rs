//! It is called with the lock's error.

use redis_lock::{Error, redis_lock};

#[redis_lock(key = "order:<id>", map_err = 5)]
async fn ship(id: u64) -> Result<(), Error> {
    Ok(())
}

fn main() {}
