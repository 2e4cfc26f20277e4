//! `tower::Service::call` cannot be `async`, and clones `self` before its block.

use std::pin::Pin;

use redis_lock::{Error, redis_lock};

trait Service<Request> {
    type Future;

    fn call(&mut self, request: Request) -> Self::Future;
}

#[derive(Clone)]
struct Ship;

impl Service<u64> for Ship {
    type Future = Pin<Box<dyn Future<Output = Result<u64, Error>> + Send>>;

    #[redis_lock(key = "order:<request>")]
    fn call(&mut self, request: u64) -> Self::Future {
        let ship = self.clone();
        Box::pin(async move {
            let _ = ship;
            Ok(request)
        })
    }
}

fn main() {}
