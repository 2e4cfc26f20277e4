//! Methods made by `macro_rules!`, with the `self` of the macro or of its caller.
#![deny(warnings)]

use redis_lock::{Error, redis_lock};

macro_rules! method {
    ($($self:ident)?; $key:literal) => {
        impl Shop {
            #[redis_lock(key = $key)]
            async fn ours(&self, id: u64) -> Result<u64, Error> {
                Ok(self.id + id)
            }

            #[redis_lock(key = "shop:<self.id>")]
            async fn theirs(&$($self)?, other: u64) -> Result<u64, Error> {
                Ok($($self)?.id + other)
            }
        }
    };
}

struct Shop {
    id: u64,
}

method!(self; "shop:<self.id>:<id>");

pub fn main() {
    drop(Shop { id: 1 }.ours(1));
    drop(Shop { id: 1 }.theirs(1));
}
