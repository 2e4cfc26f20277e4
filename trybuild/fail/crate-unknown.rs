//! A path that leads nowhere is reported where it stands.

use redis_lock::{Error, redis_lock};

#[redis_lock(key = "order:<id>", crate = ::locks)]
async fn ship(id: u64) -> Result<(), Error> {
    Ok(())
}

fn main() {}
