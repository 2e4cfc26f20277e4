//! Braces do not hold fields either.

use redis_lock::{Error, redis_lock};

struct Order {
    id: u64,
}

#[redis_lock(key = "order:{order.id}")]
async fn ship(order: Order) -> Result<u64, Error> {
    Ok(order.id)
}

fn main() {}
