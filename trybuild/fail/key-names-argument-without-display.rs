//! The same for a value that has no text.

use redis_lock::{Error, redis_lock};

#[redis_lock(key = "order:<order>")]
async fn ship(order: Order) -> Result<(), Error> {
    drop(order);
    Ok(())
}

struct Order;

fn main() {}
