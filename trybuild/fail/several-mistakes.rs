//! All of them at once, and none for the caller: the function is still there.

use redis_lock::redis_lock;

#[redis_lock(key = "order:<ib>", mode = "x", wait = 5, ttls = "1s")]
fn ship(id: u64) {
    drop(id);
}

fn main() {
    ship(1);
}
