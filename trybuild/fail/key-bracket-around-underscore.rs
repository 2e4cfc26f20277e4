//! An underscore has no value.

use redis_lock::{Error, redis_lock};

#[redis_lock(key = "order:<_>")]
async fn ship(_: u64) -> Result<(), Error> {
    Ok(())
}

fn main() {}
