//! A guard that the body does not use is reported at its name.

#![deny(unused_variables)]

use redis_lock::{Error, redis_lock};

#[redis_lock(key = "order:<id>", guard = lock)]
async fn ship(id: u64) -> Result<(), Error> {
    Ok(())
}

fn main() {}
