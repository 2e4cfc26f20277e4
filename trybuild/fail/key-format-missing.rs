//! A colon is followed by a format.

use redis_lock::{Error, redis_lock};

#[redis_lock(key = "order:<id:>")]
async fn ship(id: u64) -> Result<(), Error> {
    Ok(())
}

fn main() {}
