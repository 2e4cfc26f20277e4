//! Arguments that the body does not mention: not called unused where the key, or another option, names them.
#![deny(warnings)]

use std::time::Duration;

use async_trait::async_trait;

use redis_lock::{Error, redis_lock};

#[async_trait]
trait Till: Send + Sync {
    async fn by_place(&self, id: u64, name: String) -> Result<(), Error>;

    async fn by_expression(&self, id: u64, limit: Duration) -> Result<(), Error>;

    async fn underscored(&self, id: u64) -> Result<(), Error>;

    #[redis_lock(key = "default:<id>")]
    async fn by_default(&self, id: u64, #[cfg(unix)] mut name: Vec<u8>) -> Result<(), Error> {
        #[cfg(unix)]
        name.clear();
        Ok(())
    }
}

struct Drawer;

#[async_trait]
impl Till for Drawer {
    #[redis_lock(key = ["drawer:<id>", r("drawer:<name.len()>")])]
    async fn by_place(&self, id: u64, name: String) -> Result<(), Error> {
        Ok(())
    }

    #[redis_lock(key = format!("drawer:{id}"), wait = limit)]
    async fn by_expression(&self, id: u64, limit: Duration) -> Result<(), Error> {
        Ok(())
    }

    #[redis_lock(key = "drawer:<_id>")]
    async fn underscored(&self, _id: u64) -> Result<(), Error> {
        Ok(())
    }
}

pub fn main() {
    drop(Drawer.by_place(1, String::new()));
    drop(Drawer.by_expression(1, Duration::ZERO));
    drop(Drawer.underscored(1));
    drop(Drawer.by_default(
        1,
        #[cfg(unix)]
        Vec::new(),
    ));
}
