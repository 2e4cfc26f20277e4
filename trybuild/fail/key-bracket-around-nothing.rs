//! A place has a name.

use redis_lock::{Error, redis_lock};

#[redis_lock(key = "order:<>")]
async fn ship(id: u64) -> Result<u64, Error> {
    Ok(id)
}

fn main() {}
