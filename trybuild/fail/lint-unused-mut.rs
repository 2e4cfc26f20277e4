//! An argument, and a variable, that are mutable for nothing.

#![deny(unused_mut)]

use redis_lock::{Error, redis_lock};

#[redis_lock(key = "order")]
async fn ship(mut id: u64) -> Result<u64, Error> {
    let mut order = id;
    Ok(order)
}

fn main() {}
