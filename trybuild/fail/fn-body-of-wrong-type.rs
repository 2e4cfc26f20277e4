//! A wrong value is reported where it stands, as without the attribute.

use redis_lock::{Error, redis_lock};

#[redis_lock(key = "order:<id>")]
async fn ship(id: u64) -> Result<u64, Error> {
    if id == 0 {
        return Ok("none");
    }
    Ok("some")
}

#[redis_lock(key = "order:<id>")]
async fn no_value(id: u64) -> Result<(), Error> {
    drop(id);
}

fn main() {}
