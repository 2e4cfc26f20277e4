//! A format is written down.

use redis_lock::{Error, redis_lock};

#[redis_lock(key = "order:<id:width$>")]
async fn ship(id: u64, width: usize) -> Result<(), Error> {
    Ok(())
}

fn main() {}
