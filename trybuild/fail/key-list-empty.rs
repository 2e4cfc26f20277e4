//! A list of keys has at least one.

use redis_lock::{Error, redis_lock};

#[redis_lock(key = [])]
async fn ship(id: u64) -> Result<(), Error> {
    Ok(())
}

fn main() {}
