//! Names that are keywords, not ASCII, or begin with an underscore.
#![deny(warnings)]

use redis_lock::{Error, redis_lock};

struct Order {
    r#type: u8,
}

#[redis_lock(key = "<r#type>:<type>:<größe>:<_kept>:<order.type>:<order.r#type>")]
async fn names(r#type: u8, größe: u8, _kept: u8, order: Order) -> Result<(), Error> {
    Ok(())
}

pub fn main() {
    let _ = names(1, 2, 3, Order { r#type: 4 });
}
