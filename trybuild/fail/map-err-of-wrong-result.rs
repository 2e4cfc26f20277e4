//! What it returns is the function's error.

use redis_lock::{Error, redis_lock};

#[redis_lock(key = "order:<id>", map_err = |error| error.to_string())]
async fn ship(id: u64) -> Result<(), Error> {
    Ok(())
}

fn main() {}
