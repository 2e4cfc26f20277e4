//! A variable of the body that is not used.

#![deny(unused_variables)]

use redis_lock::{Error, redis_lock};

#[redis_lock(key = "order:<id>")]
async fn ship(id: u64) -> Result<(), Error> {
    let order = id;
    Ok(())
}

fn main() {}
