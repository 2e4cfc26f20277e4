//! What is returned instead: a value, a block, an early return, something coerced.
#![deny(warnings)]

use std::fmt::Display;

use redis_lock::{Error, redis_lock};

#[redis_lock(key = "job", wait = "0s", on_contended = Ok(()))]
async fn skipped() -> Result<(), Error> {
    Ok(())
}

#[redis_lock(key = "job", on_contended = { let none = 0; Ok(none) })]
async fn block() -> Result<u64, Error> {
    Ok(1)
}

#[redis_lock(key = "job", on_contended = return Ok(1))]
async fn early() -> Result<u64, Error> {
    Ok(1)
}

#[redis_lock(key = "job", on_contended = Ok("0".parse()?))]
async fn fallible() -> Result<u64, Box<dyn std::error::Error>> {
    Ok(1)
}

#[redis_lock(key = "job", on_contended = Ok(Box::new("busy")))]
async fn coerced() -> Result<Box<dyn Display>, Error> {
    Ok(Box::new(1))
}

#[redis_lock(key = "job", on_contended = unreachable!("it waits for ever"), wait = "forever")]
async fn diverges() -> Result<u64, Error> {
    Ok(1)
}

pub fn main() {
    let _ = (
        skipped(),
        block(),
        early(),
        fallible(),
        coerced(),
        diverges(),
    );
}
