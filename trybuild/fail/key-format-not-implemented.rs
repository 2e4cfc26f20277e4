//! What a format needs is asked for in the key.

use redis_lock::{Error, redis_lock};

struct Id(u64);

#[redis_lock(key = "order:<id:?>")]
async fn ship(id: Id) -> Result<(), Error> {
    let _ = id.0;
    Ok(())
}

fn main() {}
