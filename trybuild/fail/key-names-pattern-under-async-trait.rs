//! `#[async_trait]` has taken the pattern out of the signature.

use async_trait::async_trait;
use redis_lock::{Error, redis_lock};

#[async_trait]
trait Ship {
    async fn ship(&self, pair: (u64, u64)) -> Result<u64, Error>;
}

#[async_trait]
impl Ship for () {
    #[redis_lock(key = "order:<id>")]
    async fn ship(&self, (id, _): (u64, u64)) -> Result<u64, Error> {
        Ok(id)
    }
}

fn main() {}
