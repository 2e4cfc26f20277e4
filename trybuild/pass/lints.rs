//! The lints that people turn on see nothing of ours.
#![deny(
    warnings,
    unused,
    unreachable_pub,
    unused_qualifications,
    let_underscore_drop,
    single_use_lifetimes
)]
#![deny(
    unused_results,
    unused_lifetimes,
    trivial_casts,
    elided_lifetimes_in_paths,
    missing_docs
)]
#![deny(rust_2018_idioms, unsafe_code)]

use std::fmt::Display;

use redis_lock::{Error, redis_lock};

/// Everything is used.
#[redis_lock(key = "order:<id>", wait = "1s", ttl = "1s")]
pub async fn used(id: u64, _ignored: String, mut list: Vec<u8>) -> Result<Box<dyn Display>, Error> {
    list.push(1);
    if list.is_empty() {
        return Ok(Box::new(1));
    }
    Ok(Box::new(list.len()))
}

/// Its own lint levels stay where they are.
#[redis_lock(key = "order")]
#[expect(unused_variables, reason = "shows that the expectation is met")]
pub async fn expected(unused: u64) -> Result<(), Error> {
    Ok(())
}

/// So do those of a parameter.
#[redis_lock(key = "order")]
pub async fn expected_parameter(#[expect(unused_variables)] unused: u64) -> Result<(), Error> {
    Ok(())
}

/// Makes them used.
pub fn main() {
    drop(used(1, String::new(), Vec::new()));
    drop(expected(1));
    drop(expected_parameter(1));
}
