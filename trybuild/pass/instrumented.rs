//! Above and below `#[tracing::instrument]`.
#![deny(warnings)]

use redis_lock::{Error, redis_lock};

#[tracing::instrument(skip(owned), err)]
#[redis_lock(key = "order:<id>", guard = lock)]
async fn above(id: u64, owned: Vec<u64>) -> Result<u64, Error> {
    Ok(lock.token() + owned.len() as u64)
}

#[redis_lock(key = "order:<id>", guard = lock)]
#[tracing::instrument(fields(name = id), ret)]
async fn below(id: u64, owned: Vec<u64>) -> Result<u64, Error> {
    if id == 0 {
        return Ok(lock.token());
    }
    Ok(owned.len() as u64)
}

fn assert_send(_: impl Send) {}

pub fn main() {
    assert_send(above(1, Vec::new()));
    assert_send(below(1, Vec::new()));
}
