//! A guard's name is known in the body, not in the other options.

use redis_lock::{Error, redis_lock};

#[redis_lock(key = "order:<id>", guard = lock, on_contended = Ok(lock.token()))]
async fn ship(id: u64) -> Result<u64, Error> {
    Ok(lock.token())
}

fn main() {}
