//! The modes are `r` and `w`; anything else is a function that makes a key.

use redis_lock::{Error, redis_lock};

#[redis_lock(key = [x("account:<from>"), w("account:<to>")])]
async fn transfer(from: u64, to: u64) -> Result<(), Error> {
    Ok(())
}

fn main() {}
