//! Its functions can have the attribute.

use redis_lock::redis_lock;

#[redis_lock(key = "order")]
mod orders {}

fn main() {}
