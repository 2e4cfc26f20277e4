//! Methods of traits: in implementations, refined from `impl Future`, and as default bodies.
#![deny(warnings)]

use std::future::Future;

use redis_lock::{Error, redis_lock};

pub trait Till {
    type Coin: Send;

    fn open(&self, id: u64) -> impl Future<Output = Result<u64, Error>> + Send;

    #[allow(async_fn_in_trait)]
    async fn close(&self, coin: Self::Coin) -> Result<Self::Coin, Error>;

    #[allow(async_fn_in_trait)]
    #[redis_lock(key = "count:<of>")]
    async fn count(&self, of: Vec<Self::Coin>) -> Result<usize, Error>
    where
        Vec<Self::Coin>: std::fmt::Display,
    {
        Ok(of.len())
    }

    #[redis_lock(key = "look:<id>")]
    fn look(&self, id: u64) -> impl Future<Output = Result<u64, Error>> + Send
    where
        Self: Sync,
    {
        async move { Ok(id) }
    }
}

struct Drawer {
    name: String,
}

impl Till for Drawer {
    type Coin = u8;

    #[redis_lock(key = "drawer:<self.name>:<id>")]
    async fn open(&self, id: u64) -> Result<u64, Error> {
        Ok(id)
    }

    #[redis_lock(key = "drawer:<self.name>")]
    async fn close(&self, coin: Self::Coin) -> Result<Self::Coin, Error> {
        Ok(coin)
    }
}

pub fn main() {
    let drawer = Drawer {
        name: String::new(),
    };
    drop((drawer.open(1), drawer.close(1), drawer.look(1)));
}
