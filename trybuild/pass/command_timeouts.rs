//! How long a command may take, as text and as an expression.
#![deny(warnings)]

use std::time::Duration;

use redis_lock::{Error, redis_lock};

#[redis_lock(key = "order:<id>", command_timeout = "500ms")]
async fn fixed(id: u64) -> Result<(), Error> {
    Ok(())
}

#[redis_lock(key = "order", command_timeout = limit)]
async fn given(limit: Duration) -> Result<(), Error> {
    Ok(())
}

pub fn main() {
    drop((fixed(1), given(Duration::from_secs(1))));
}
