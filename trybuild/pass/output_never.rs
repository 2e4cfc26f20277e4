//! Bodies that do not come to their end.
#![deny(warnings)]

use redis_lock::{Error, redis_lock};

#[redis_lock(key = "a")]
async fn endless() -> Result<std::convert::Infallible, Error> {
    loop {
        std::future::ready(()).await;
    }
}

#[redis_lock(key = "a")]
async fn diverges() -> Result<(), Error> {
    panic!("always")
}

#[redis_lock(key = "a")]
async fn returns_early() -> Result<u8, Error> {
    return Ok(1);
}

pub fn main() {
    let _ = (endless(), diverges(), returns_early());
}
