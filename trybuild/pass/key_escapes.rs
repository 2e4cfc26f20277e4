//! Brackets that are doubled, and braces, which are kept.
#![deny(warnings)]

use redis_lock::{Error, redis_lock};

#[redis_lock(key = "<<kept>>:<<<id>>>:{<id>}:{}:{0}:}{:%")]
async fn escaped(id: u64) -> Result<(), Error> {
    Ok(())
}

#[redis_lock(key = r"C:\<id>\n")]
async fn raw(id: u64) -> Result<(), Error> {
    Ok(())
}

#[redis_lock(key = "\u{3c}id\x3e:\n\"")]
async fn escaped_for_rust(id: u64) -> Result<(), Error> {
    Ok(())
}

#[redis_lock(key = concat!("{", "id", "}"))]
async fn literal_braces(id: u64) -> Result<u64, Error> {
    Ok(id)
}

pub fn main() {
    let _ = (escaped(1), raw(1), escaped_for_rust(1), literal_braces(1));
}
