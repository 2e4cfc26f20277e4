//! All options at once, in any order.
#![deny(warnings)]

use std::time::Duration;

use redis_lock::{Error, Locker, redis_lock};

const LONG: Duration = Duration::from_secs(30);

struct Shop {
    locker: Locker,
}

impl Shop {
    #[redis_lock(
        guard = lock,
        wait = "1m30s",
        key = "order:<id>",
        ttl = "500ms",
        max_hold = LONG,
        mode = "w",
        on_contended = Ok(0),
        locker = self.locker,
        auto_extend = true,
        crate = ::redis_lock,
        map_err = |error| error,
    )]
    pub async fn ship(&self, id: u64) -> Result<u64, Error> {
        Ok(id + lock.token())
    }
}

pub fn main() {
    let _ = |shop: &Shop| drop(shop.ship(1));
}
