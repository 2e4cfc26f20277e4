//! A deprecated function that the body calls.

#![deny(deprecated)]

use redis_lock::{Error, redis_lock};

#[deprecated]
fn old(id: u64) -> u64 {
    id
}

#[redis_lock(key = "order:<id>")]
async fn ship(id: u64) -> Result<u64, Error> {
    Ok(old(id))
}

fn main() {}
