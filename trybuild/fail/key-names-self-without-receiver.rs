//! Only a method has a self.

use redis_lock::{Error, redis_lock};

#[redis_lock(key = "order:<self.id>")]
async fn ship(id: u64) -> Result<u64, Error> {
    Ok(id)
}

fn main() {}
