//! Two attributes on one function, one above the other.
#![deny(warnings)]

use redis_lock::{Error, redis_lock};

#[redis_lock(key = "shop", mode = "r", guard = shop)]
#[redis_lock(key = "order:<id>", guard = order)]
#[must_use]
#[inline]
async fn nested(id: u64, mut owned: Vec<u64>) -> Result<u64, Error> {
    owned.push(shop.token() + order.token());
    Ok(owned[0])
}

pub fn main() {
    let _ = nested(1, Vec::new());
}
