//! No command is answered in no time.

use redis_lock::{Error, redis_lock};

#[redis_lock(key = "order:<id>", command_timeout = "0s")]
async fn ship(id: u64) -> Result<u64, Error> {
    Ok(id)
}

fn main() {}
