//! Attributes of arguments: conditions and levels of lints.
#![deny(warnings)]

use redis_lock::{Error, redis_lock};

#[redis_lock(key = "a")]
async fn attributes(
    #[allow(unused_variables)] allowed: u8,
    #[cfg(any())] gone: Gone,
    #[cfg(all())] there: u8,
    #[allow(unused_mut)] mut needless: u8,
) -> Result<u8, Error> {
    Ok(there + needless)
}

pub fn main() {
    drop(attributes(1, 2, 3));
}
