//! Methods in a key have no arguments.

use redis_lock::{Error, redis_lock};

#[redis_lock(key = "order:<name.repeat(2)>")]
async fn ship(name: &str) -> Result<(), Error> {
    Ok(())
}

fn main() {}
