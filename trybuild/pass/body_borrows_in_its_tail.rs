//! A temporary in the last expression that borrows an argument: in edition 2021 it is dropped last.
#![deny(warnings)]

use std::cell::RefCell;
use std::sync::Mutex;

use redis_lock::{Error, redis_lock};

#[redis_lock(key = "a")]
async fn of_an_argument(cell: RefCell<String>) -> Result<usize, Error> {
    Ok(cell.borrow().len())
}

#[redis_lock(key = "a")]
async fn of_an_argument_and_the_guard(cell: Mutex<u64>) -> Result<u64, Error> {
    match cell.lock() {
        Ok(value) => Ok(*value),
        Err(_) => Ok(0),
    }
}

#[redis_lock(key = "a", guard = lock)]
async fn of_the_guard() -> Result<usize, Error> {
    Ok(RefCell::new(lock.key()).borrow().len())
}

pub fn main() {
    let _ = (
        of_an_argument(RefCell::default()),
        of_an_argument_and_the_guard(Mutex::default()),
        of_the_guard(),
    );
}
