//! An argument that only a format string names is a used one.
#![deny(warnings)]

use redis_lock::{Error, redis_lock};

#[redis_lock(key = "a")]
async fn formatted(name: String, width: usize) -> Result<String, Error> {
    Ok(format!("{name:width$}"))
}

#[redis_lock(key = format!("{name}"))]
async fn in_the_key(name: String) -> Result<(), Error> {
    Ok(())
}

pub fn main() {
    let _ = (formatted(String::new(), 1), in_the_key(String::new()));
}
