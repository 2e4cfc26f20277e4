//! What the future gives is a `Result`.

use std::pin::Pin;

use redis_lock::redis_lock;

#[redis_lock(key = "order:<id>")]
fn ship(id: u64) -> Pin<Box<dyn Future<Output = u64>>> {
    Box::pin(async move { id })
}

fn main() {}
