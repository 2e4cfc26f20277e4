//! The future is `Send` if the plain one is: with arguments that are not `Sync`, and with keys and options made by
//! way of values that are not `Send`.
#![deny(warnings)]

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Mutex;
use std::time::Duration;

use redis_lock::{Error, redis_lock};

#[redis_lock(key = "a:<id>")]
async fn not_sync(id: u64, cell: Cell<u8>) -> Result<u8, Error> {
    std::future::ready(()).await;
    Ok(cell.get())
}

#[redis_lock(key = Rc::new(id.to_string()).as_str(), wait = *limit.lock().unwrap())]
async fn temporaries(id: u64, limit: &Mutex<Duration>) -> Result<(), Error> {
    std::future::ready(()).await;
    Ok(())
}

fn assert_send(_: impl Send) {}

pub fn main() {
    assert_send(not_sync(1, Cell::new(1)));
    assert_send(temporaries(1, &Mutex::new(Duration::ZERO)));
}
