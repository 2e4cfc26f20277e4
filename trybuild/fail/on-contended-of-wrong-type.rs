//! A wrong value is shown in the expression.

use redis_lock::{Error, redis_lock};

#[redis_lock(key = "order:<id>", on_contended = Ok("skipped"))]
async fn ship(id: u64) -> Result<(), Error> {
    Ok(())
}

fn main() {}
