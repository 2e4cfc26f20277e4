//! A lease that is not extended, and one that is.
#![deny(warnings)]

use redis_lock::{Error, redis_lock};

#[redis_lock(key = "a", auto_extend = false, ttl = "1m")]
async fn ends() -> Result<(), Error> {
    Ok(())
}

#[redis_lock(key = "a", auto_extend = true)]
async fn goes_on() -> Result<(), Error> {
    Ok(())
}

pub fn main() {
    let _ = (ends(), goes_on());
}
