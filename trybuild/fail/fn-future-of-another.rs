//! A future that is made elsewhere cannot run under the lock.

use redis_lock::{Error, redis_lock};

async fn other() -> Result<(), Error> {
    Ok(())
}

#[redis_lock(key = "order:<id>")]
fn ship(id: u64) -> impl Future<Output = Result<(), Error>> {
    let _ = id;
    other()
}

fn main() {}
