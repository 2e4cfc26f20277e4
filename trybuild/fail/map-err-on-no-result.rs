//! Only a `Result` has errors.

use redis_lock::redis_lock;

#[redis_lock(key = "order:<id>", map_err = |error| error)]
async fn ship(id: u64) -> u64 {
    id
}

fn main() {}
