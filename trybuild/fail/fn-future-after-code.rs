//! What stands before the block would run without the lock.

use redis_lock::{Error, redis_lock};

#[redis_lock(key = "order:<id>")]
fn ship(id: u64) -> impl Future<Output = Result<(), Error>> {
    println!("ships {id}");
    async move { Ok(()) }
}

fn main() {}
