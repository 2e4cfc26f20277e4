//! `#[tokio::test]` has made a plain function of it.

use redis_lock::{Error, redis_lock};

#[tokio::test]
#[redis_lock(key = "order")]
async fn ships() -> Result<(), Error> {
    Ok(())
}

fn main() {}
