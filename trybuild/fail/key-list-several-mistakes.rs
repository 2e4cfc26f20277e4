//! Each key of a list is checked, and each mistake reported.

use redis_lock::{Error, redis_lock};

#[redis_lock(key = ["order:<ib>", "order:<id", "order:<id>", 5])]
async fn ship(id: u64) -> Result<(), Error> {
    Ok(())
}

fn main() {}
