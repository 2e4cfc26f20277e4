//! What is wrong in the body is what the compiler says, and all that it says.

use redis_lock::{Error, redis_lock};

#[redis_lock(key = "order:<id>")]
async fn ship(id: u64) -> Result<(), Error> {
    let order = ;
    Ok(())
}

fn main() {
    drop(ship(1));
}
