//! It says what is returned.

use redis_lock::{Error, redis_lock};

#[redis_lock(key = "order:<id>", on_contended)]
async fn ship(id: u64) -> Result<(), Error> {
    Ok(())
}

fn main() {}
