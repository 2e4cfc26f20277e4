//! A hold lasts.

use redis_lock::{Error, redis_lock};

#[redis_lock(key = "order:<id>", max_hold = "0s")]
async fn ship(id: u64) -> Result<(), Error> {
    Ok(())
}

fn main() {}
