//! Each key is written down.

use redis_lock::{Error, redis_lock};

#[redis_lock(key = ["order:<id>"; 2])]
async fn ship(id: u64) -> Result<(), Error> {
    Ok(())
}

fn main() {}
