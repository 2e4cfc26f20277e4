//! The error of the lock has to go somewhere.

use redis_lock::redis_lock;

#[redis_lock(key = "order:<id>")]
async fn ship(id: u64) {
    drop(id);
}

fn main() {}
