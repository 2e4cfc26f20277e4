//! A key that has to be waited for.
#![deny(warnings)]

use std::future::Future;
use std::pin::{Pin, pin};

use redis_lock::{Error, Key, redis_lock};

#[redis_lock(key = { let id = id.as_mut().await; Key::from(id) })]
async fn awaited(mut id: Pin<&mut impl Future<Output = String>>) -> Result<(), Error> {
    Ok(())
}

pub fn main() {
    drop(awaited(pin!(async { String::new() })));
}
