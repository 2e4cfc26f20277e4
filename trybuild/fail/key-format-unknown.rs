//! A format is one of `format!`.

use redis_lock::{Error, redis_lock};

#[redis_lock(key = "order:<id:4d>")]
async fn ship(id: u64) -> Result<(), Error> {
    Ok(())
}

fn main() {}
