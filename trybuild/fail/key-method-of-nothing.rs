//! A method in a key is one of the argument's.

use redis_lock::{Error, redis_lock};

#[redis_lock(key = "order:<name.length()>")]
async fn ship(name: &str) -> Result<(), Error> {
    Ok(())
}

fn main() {}
