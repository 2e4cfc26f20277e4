//! Brackets end a place, and so cannot align.

use redis_lock::{Error, redis_lock};

#[redis_lock(key = "order:<id:0<5>")]
async fn ship(id: u64) -> Result<(), Error> {
    Ok(())
}

fn main() {}
