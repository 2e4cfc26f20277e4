//! Arguments that are `impl Trait`, closures among them.
#![deny(warnings)]

use redis_lock::{Error, redis_lock};

#[redis_lock(key = "call:<name>")]
async fn callback(
    name: impl Into<String> + std::fmt::Display,
    call: impl AsyncFnOnce(String) -> u8,
    mut each: impl FnMut(&str),
) -> Result<u8, Error> {
    each("a");
    Ok(call(name.into()).await)
}

pub fn main() {
    drop(callback("a", async |_| 1, |_| ()));
}
