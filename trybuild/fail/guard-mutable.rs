//! A guard is a name.

use redis_lock::{Error, redis_lock};

#[redis_lock(key = "order:<id>", guard = mut lock)]
async fn ship(id: u64) -> Result<(), Error> {
    Ok(())
}

fn main() {}
