//! A value that is never read.

#![deny(unused_assignments)]

use redis_lock::{Error, redis_lock};

#[redis_lock(key = "order")]
async fn ship(mut id: u64) -> Result<u64, Error> {
    let order = id;
    id = 5;
    Ok(order)
}

fn main() {}
