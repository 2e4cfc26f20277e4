//! The body has the arguments; what can be copied can be used.

use redis_lock::{Error, redis_lock};

#[redis_lock(key = "order:<name>", on_contended = Ok(name))]
async fn ship(name: String) -> Result<String, Error> {
    Ok(name)
}

fn main() {}
