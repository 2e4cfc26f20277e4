//! All of them at once.

use redis_lock::redis_lock;

#[redis_lock(key = "order:<ib>", mode = "x", wait = 5, ttls = "1s")]
fn ship(id: u64) {
    drop(id);
}

fn main() {}
