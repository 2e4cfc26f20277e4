//! What follows a `return`.

#![deny(unreachable_code)]

use redis_lock::{Error, redis_lock};

#[redis_lock(key = "order:<id>")]
async fn ship(id: u64) -> Result<(), Error> {
    return Ok(());
    println!("shipped");
    Ok(())
}

fn main() {}
