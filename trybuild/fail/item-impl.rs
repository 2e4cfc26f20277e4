//! Its methods can have the attribute.

use redis_lock::{Error, redis_lock};

#[redis_lock(key = "order")]
impl Order {
    async fn ship(&self) -> Result<(), Error> {
        Ok(())
    }
}

struct Order;

fn main() {}
