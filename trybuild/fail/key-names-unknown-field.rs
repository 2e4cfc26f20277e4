//! What is wrong with a value is shown in the key.

use redis_lock::{Error, redis_lock};

#[redis_lock(key = "order:<order.ids>")]
async fn ship(order: Order) -> Result<u64, Error> {
    Ok(order.id)
}

struct Order {
    id: u64,
}

fn main() {}
