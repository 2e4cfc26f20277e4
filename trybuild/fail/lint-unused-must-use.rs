//! Futures and results that are dropped.

#![deny(unused_must_use)]

use redis_lock::{Error, redis_lock};

#[redis_lock(key = "order:<id>")]
async fn ship(id: u64) -> Result<u64, Error> {
    pack(id);
    pack(id).await;
    Ok(id)
}

async fn pack(id: u64) -> Result<u64, Error> {
    Ok(id)
}

fn main() {
    ship(1);
}
