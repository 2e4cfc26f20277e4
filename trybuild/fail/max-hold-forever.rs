//! Without a bound is without the option.

use redis_lock::{Error, redis_lock};

#[redis_lock(key = "order:<id>", max_hold = "forever")]
async fn ship(id: u64) -> Result<(), Error> {
    Ok(())
}

fn main() {}
