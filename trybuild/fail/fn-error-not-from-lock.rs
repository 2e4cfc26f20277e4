//! The same with an error that cannot be made from it.

use redis_lock::redis_lock;

#[redis_lock(key = "order:<id>")]
async fn ship(id: u64) -> Result<u64, std::num::ParseIntError> {
    Ok(id)
}

fn main() {}
