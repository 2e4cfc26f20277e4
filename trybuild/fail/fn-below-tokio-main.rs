//! An attribute above has made the function a plain one.

use redis_lock::{Error, redis_lock};

#[tokio::main]
#[redis_lock(key = "main")]
async fn start() -> Result<(), Error> {
    Ok(())
}

fn main() {}
