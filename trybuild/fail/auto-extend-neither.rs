//! It is yes or no.

use redis_lock::{Error, redis_lock};

#[redis_lock(key = "order:<id>", auto_extend = 1)]
async fn ship(id: u64) -> Result<(), Error> {
    Ok(())
}

fn main() {}
