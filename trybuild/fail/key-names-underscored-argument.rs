//! What the compiler says of an unused argument was followed, although the key uses it.

use async_trait::async_trait;
use redis_lock::{Error, redis_lock};

#[async_trait]
trait Ship {
    async fn ship(&self, id: u64) -> Result<(), Error>;
}

#[async_trait]
impl Ship for () {
    #[redis_lock(key = "order:<id>")]
    async fn ship(&self, _id: u64) -> Result<(), Error> {
        Ok(())
    }
}

#[redis_lock(key = "order:<id.len()>")]
async fn ship(_id: &str) -> Result<(), Error> {
    Ok(())
}

fn main() {}
