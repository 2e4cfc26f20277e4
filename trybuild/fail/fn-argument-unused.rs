//! The attribute does not count as a use.

#![deny(unused_variables)]

use redis_lock::{Error, redis_lock};

#[redis_lock(key = "order:<id>")]
async fn ship(id: u64, express: bool) -> Result<(), Error> {
    Ok(())
}

fn main() {}
