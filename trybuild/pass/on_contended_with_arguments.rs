//! What is returned instead may be made of arguments that can be copied.
#![deny(warnings)]

use redis_lock::{Error, redis_lock};

struct Shop {
    id: u64,
}

impl Shop {
    #[redis_lock(key = "shop:<self.id>", on_contended = Ok((self.id, name, count)))]
    async fn ship<'a>(&self, name: &'a str, count: u64) -> Result<(u64, &'a str, u64), Error> {
        Ok((self.id, name, count))
    }
}

#[redis_lock(key = "a", on_contended = Ok(only_here))]
async fn only_here(only_here: u64) -> Result<u64, Error> {
    Ok(1)
}

pub fn main() {
    drop(Shop { id: 1 }.ship("a", 1));
    drop(only_here(1));
}
