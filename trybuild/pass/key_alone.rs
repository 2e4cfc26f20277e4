//! A key is all that has to be given.
#![deny(warnings)]

use redis_lock::{Error, redis_lock};

#[redis_lock(key = "orders")]
async fn free() -> Result<(), Error> {
    Ok(())
}

/// Docs and visibility stay.
#[redis_lock(key = "orders")]
pub async fn public() -> Result<u64, Error> {
    Ok(1)
}

pub fn main() {
    let _ = (free(), public());
}
