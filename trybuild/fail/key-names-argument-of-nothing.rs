//! A function without arguments has no name to suggest.

use redis_lock::{Error, redis_lock};

#[redis_lock(key = "order:<id>")]
async fn ship() -> Result<(), Error> {
    Ok(())
}

fn main() {}
