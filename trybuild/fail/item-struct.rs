//! Only a function runs.

use redis_lock::redis_lock;

#[redis_lock(key = "order")]
struct Order;

fn main() {}
