//! A key that may fail to be made: its error is the function's.
#![deny(warnings)]

use redis_lock::{Error, Key, redis_lock};

#[redis_lock(key = key_of(id)?)]
async fn fallible(id: u64) -> Result<(), Error> {
    Ok(())
}

fn key_of(id: u64) -> Result<Key, Error> {
    Ok(Key::from(id.to_string()))
}

pub fn main() {
    drop(fallible(1));
}
