//! There is nothing to run yet.

use redis_lock::{Error, redis_lock};

trait Ship {
    #[redis_lock(key = "order:<id>")]
    async fn ship(&self, id: u64) -> Result<(), Error>;
}

fn main() {}
