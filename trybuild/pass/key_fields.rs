//! Fields in a key, by name and by number.
#![deny(warnings)]

use redis_lock::{Error, redis_lock};

struct Order {
    id: u64,
    route: (String, Stop),
}

struct Stop {
    city: &'static str,
}

#[redis_lock(key = "<order.id>:<order.route.0>:<order.route.1.city>")]
async fn fields(order: &Order) -> Result<(), Error> {
    Ok(())
}

#[redis_lock(key = "<nested.0.1.0>")]
async fn tuples(nested: ((u8, (u8,)),)) -> Result<(), Error> {
    Ok(())
}

pub fn main() {
    let order = Order {
        id: 1,
        route: (String::new(), Stop { city: "a" }),
    };
    let _ = fields(&order);
    let _ = tuples(((1, (2,)),));
}
