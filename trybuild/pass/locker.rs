//! A Locker, or a reference to one, from wherever it is.
#![deny(warnings)]

use std::sync::Arc;
use std::time::Duration;

use redis_lock::{Error, Locker, redis_lock};

struct Shop {
    locker: Locker,
    shared: Arc<Locker>,
}

impl Shop {
    #[redis_lock(key = "a", locker = self.locker)]
    async fn of_self(&self) -> Result<(), Error> {
        Ok(())
    }

    #[redis_lock(key = "a", locker = self.shared)]
    async fn shared(&mut self) -> Result<(), Error> {
        Ok(())
    }

    #[redis_lock(key = "a", locker = &self.locker)]
    async fn reference(&self) -> Result<(), Error> {
        Ok(())
    }

    #[redis_lock(key = "a", locker = self.locker().ttl(Duration::from_secs(1)))]
    async fn method(&self) -> Result<(), Error> {
        Ok(())
    }

    fn locker(&self) -> Locker {
        self.locker.clone()
    }
}

#[redis_lock(key = "a", locker = locker)]
async fn argument(locker: Locker) -> Result<Locker, Error> {
    Ok(locker)
}

#[redis_lock(key = "a", locker = locker)]
async fn borrowed(locker: &Locker) -> Result<(), Error> {
    Ok(())
}

#[redis_lock(key = "a", locker = redis_lock::locker()?.namespace("app"))]
async fn in_scope() -> Result<(), Error> {
    Ok(())
}

fn assert_send(_: impl Send) {}

pub fn main() {
    let _ = |mut shop: Shop| {
        assert_send(shop.of_self());
        drop((shop.reference(), shop.method()));
        drop(shop.shared());
        drop((borrowed(&shop.locker), argument(shop.locker.clone())));
    };
    drop(in_scope());
}
