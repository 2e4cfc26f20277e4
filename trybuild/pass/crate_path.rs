//! The crate by other paths: absolute, relative, of a re-export, as a string.
#![deny(warnings)]

pub mod facade {
    pub use redis_lock;

    pub mod locks {
        pub use ::redis_lock::*;
    }
}

use facade::locks::{Error, redis_lock as locked};

#[locked(key = "order:<id>", wait = "1s", guard = lock, crate = facade::locks, locker = facade::locks::locker()?)]
async fn relative(id: u64) -> Result<u64, Error> {
    Ok(lock.token())
}

#[locked(key = ["a", "b"], crate = ::redis_lock, on_contended = Ok(()))]
async fn absolute() -> Result<(), Error> {
    Ok(())
}

#[locked(key = "a", crate = "facade::redis_lock", map_err = |error| error)]
async fn text() -> Result<(), Error> {
    Ok(())
}

#[locked(key = "a", crate = self::facade::locks, wait = "forever")]
async fn of_self() -> Result<(), Error> {
    Ok(())
}

pub fn main() {
    let _ = (relative(1), absolute(), text(), of_self());
}
