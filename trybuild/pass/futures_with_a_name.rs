//! Functions that return a future by the name of its type, as `tower::Service::call`.
#![deny(warnings)]

use std::pin::Pin;

use redis_lock::{Error, redis_lock};

type BoxFuture<'a, T> = Pin<Box<dyn std::future::Future<Output = T> + Send + 'a>>;

trait Service<Request> {
    type Future;

    fn call(&mut self, request: Request) -> Self::Future;
}

struct Ship;

impl Service<u64> for Ship {
    type Future = BoxFuture<'static, Result<u64, Error>>;

    #[redis_lock(key = "order:<request>", guard = lock)]
    fn call(&mut self, request: u64) -> Self::Future {
        Box::pin(async move { Ok(request + lock.token()) })
    }
}

#[redis_lock(key = "order:<id>")]
fn ship(id: &str) -> BoxFuture<'_, Result<usize, Error>> {
    Box::pin(async move { Ok(id.len()) })
}

pub fn main() {
    drop(Ship.call(1));
    drop(ship("1"));
}
