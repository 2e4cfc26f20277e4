//! Methods under `#[async_trait]`: any receiver, generics, default bodies, and without `Send`.
#![deny(warnings)]

use std::fmt::Display;
use std::rc::Rc;
use std::sync::Arc;

use async_trait::async_trait;

use redis_lock::{Error, redis_lock};

#[async_trait]
trait Till: Send + Sync {
    async fn open(&self, id: u64) -> Result<u64, Error>;

    async fn close<'a>(
        &'a mut self,
        name: &'a str,
        owned: String,
    ) -> Result<(&'a str, String), Error>;

    #[redis_lock(key = "count:<of>", guard = lock)]
    async fn count(&self, of: u64) -> Result<u64, Error> {
        Ok(of + lock.token())
    }
}

struct Drawer<T> {
    name: T,
}

#[async_trait]
impl<T: Display + Send + Sync> Till for Drawer<T> {
    #[redis_lock(key = "drawer:<self.name>:<id>", guard = lock, on_contended = Ok(id), map_err = |error| error)]
    async fn open(&self, id: u64) -> Result<u64, Error> {
        if self.name.to_string().is_empty() {
            return Ok(lock.token());
        }
        Ok(id)
    }

    #[redis_lock(key = ["drawer:<self.name>", format!("drawer:{name}")], wait = "1s")]
    async fn close<'a>(
        &'a mut self,
        name: &'a str,
        owned: String,
    ) -> Result<(&'a str, String), Error> {
        Ok((name, owned))
    }
}

#[async_trait(?Send)]
trait Local {
    async fn run(self: Arc<Self>, each: Rc<u8>) -> Result<Rc<u8>, Error>;

    async fn associated<F: Fn() -> u8>(call: F) -> Result<u8, Error>;
}

#[async_trait(?Send)]
impl Local for u8 {
    #[redis_lock(key = "local:<each>:<self>")]
    async fn run(self: Arc<Self>, each: Rc<u8>) -> Result<Rc<u8>, Error> {
        std::future::ready(()).await;
        Ok(each)
    }

    #[redis_lock(key = "local")]
    async fn associated<F: Fn() -> u8>(call: F) -> Result<u8, Error> {
        Ok(call())
    }
}

fn assert_send(_: impl Send) {}

pub fn main() {
    let mut drawer = Drawer { name: "a" };
    assert_send(drawer.open(1));
    assert_send(drawer.count(1));
    assert_send(drawer.close("a", String::new()));
    drop(Arc::new(1).run(Rc::new(1)));
    drop(u8::associated(|| 1));
}
