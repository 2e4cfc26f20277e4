//! The body gets every argument, whole: what a key needs for itself, it borrows or clones.

use redis_lock::{Error, redis_lock};

#[redis_lock(key = id)]
async fn ship(id: String) -> Result<(), Error> {
    Ok(())
}

fn main() {}
