//! Modes by their letters and by their names.
#![deny(warnings)]

use redis_lock::{Error, redis_lock};

#[redis_lock(key = "a", mode = "r")]
async fn r() -> Result<(), Error> {
    Ok(())
}

#[redis_lock(key = "a", mode = "read")]
async fn read() -> Result<(), Error> {
    Ok(())
}

#[redis_lock(key = "a", mode = "w")]
async fn w() -> Result<(), Error> {
    Ok(())
}

#[redis_lock(key = "a", mode = "write")]
async fn write() -> Result<(), Error> {
    Ok(())
}

pub fn main() {
    let _ = (r(), read(), w(), write());
}
