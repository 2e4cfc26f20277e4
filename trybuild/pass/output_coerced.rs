//! Results that are coerced, at an early return and at the end.
#![deny(warnings)]

use std::fmt::Display;

use redis_lock::{Error, redis_lock};

#[redis_lock(key = "a")]
async fn boxed(number: bool) -> Result<Box<dyn Display + Send>, Error> {
    if number {
        return Ok(Box::new(1));
    }
    Ok(Box::new("a"))
}

#[redis_lock(key = "a")]
async fn slice(short: bool) -> Result<&'static [u8], Error> {
    if short {
        return Ok(&[1]);
    }
    Ok(&[1, 2])
}

pub fn main() {
    let _ = (boxed(true), slice(true));
}
