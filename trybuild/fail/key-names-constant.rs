//! A key names arguments.

use redis_lock::{Error, redis_lock};

struct Shop;

impl Shop {
    const NAME: &str = "shop";

    #[redis_lock(key = "<Self::NAME>:<id>")]
    async fn ship(&self, id: u64) -> Result<&str, Error> {
        let _ = id;
        Ok(Self::NAME)
    }
}

fn main() {}
