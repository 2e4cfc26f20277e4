//! A body that gives the names of its return type another meaning.
#![deny(warnings)]

use redis_lock::{Error, redis_lock};

enum Fruit {
    Result,
    Error,
}

#[redis_lock(key = "a", guard = lock)]
async fn shadowed() -> Result<Fruit, Error> {
    use Fruit::*;
    if lock.is_lost() {
        return Ok(Error);
    }
    Ok(Result)
}

pub fn main() {
    drop(shadowed());
}
