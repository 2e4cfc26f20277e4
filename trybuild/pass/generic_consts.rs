//! Const parameters.
#![deny(warnings)]

use redis_lock::{Error, redis_lock};

#[redis_lock(key = "item:<N>", ttl = std::time::Duration::from_secs(N as u64))]
async fn array<const N: usize>(items: [u8; N]) -> Result<[u8; N], Error> {
    Ok(items)
}

pub fn main() {
    drop(array([1, 2]));
}
