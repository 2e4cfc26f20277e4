//! It is called with the lock's error, and nothing else.

use redis_lock::{Error, redis_lock};

fn failed(error: std::io::Error) -> Error {
    panic!("{error}")
}

#[redis_lock(key = "order:<id>", map_err = failed)]
async fn ship(id: u64) -> Result<(), Error> {
    Ok(())
}

fn main() {}
