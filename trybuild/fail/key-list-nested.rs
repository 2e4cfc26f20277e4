//! There are no lists in a list of keys.

use redis_lock::{Error, redis_lock};

#[redis_lock(key = ["order:<id>", ["a", "b"]])]
async fn ship(id: u64) -> Result<(), Error> {
    Ok(())
}

fn main() {}
