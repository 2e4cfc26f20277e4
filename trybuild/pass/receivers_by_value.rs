//! Methods that own their `self`, and associated functions.
#![deny(warnings)]

use redis_lock::{Error, redis_lock};

#[derive(Default)]
struct Shop {
    name: String,
    sold: u64,
}

impl Shop {
    #[redis_lock(key = "shop:<self.name>")]
    async fn consumed(self) -> Result<String, Error> {
        Ok(self.name)
    }

    #[redis_lock(key = "shop:<self.name>")]
    async fn changed(mut self) -> Result<Self, Error> {
        self.sold = 1;
        Ok(self)
    }

    #[redis_lock(key = "shop:<self.name>")]
    async fn unused(self) -> Result<(), Error> {
        Ok(())
    }

    #[redis_lock(key = "shops")]
    async fn associated() -> Result<Self, Error> {
        Ok(Self::default())
    }
}

pub fn main() {
    let _ = Shop::default().consumed();
    let _ = Shop::default().changed();
    let _ = Shop::default().unused();
    let _ = Shop::associated();
}
