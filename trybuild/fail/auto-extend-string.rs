//! It is yes or no, without quotes.

use redis_lock::{Error, redis_lock};

#[redis_lock(key = "order:<id>", auto_extend = "false")]
async fn ship(id: u64) -> Result<(), Error> {
    Ok(())
}

fn main() {}
