//! `impl Trait` as the result, and inside of it.
#![deny(warnings)]

use redis_lock::{Error, redis_lock};

#[redis_lock(key = "a")]
async fn inside() -> Result<impl Iterator<Item = u8> + Send, Error> {
    Ok([1, 2].into_iter())
}

#[redis_lock(key = "a", on_contended = Ok(None))]
async fn deeper() -> Result<Option<impl Fn() -> u8>, Error> {
    Ok(Some(|| 1))
}

#[redis_lock(key = "a")]
async fn whole() -> impl Into<Result<u8, Error>> {
    Ok::<_, Error>(1)
}

pub fn main() {
    let _ = (inside(), deeper(), whole());
}
