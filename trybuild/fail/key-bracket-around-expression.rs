//! A place is an argument or a field of it.

use redis_lock::{Error, redis_lock};

#[redis_lock(key = "order:<id + 1>")]
async fn ship(id: u64) -> Result<u64, Error> {
    Ok(id)
}

fn main() {}
