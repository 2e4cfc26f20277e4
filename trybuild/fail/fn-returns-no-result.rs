//! The same with a type that cannot hold it.

use redis_lock::redis_lock;

#[redis_lock(key = "order:<id>")]
async fn ship(id: u64) -> Option<Vec<u64>> {
    Some(vec![id])
}

fn main() {}
