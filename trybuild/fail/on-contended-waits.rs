//! There is nothing to wait for any more.

use redis_lock::{Error, redis_lock};

async fn skip() -> Result<(), Error> {
    Ok(())
}

#[redis_lock(key = "order:<id>", on_contended = skip().await)]
async fn ship(id: u64) -> Result<(), Error> {
    Ok(())
}

fn main() {}
