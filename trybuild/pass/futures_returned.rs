//! Functions that return a future of one `async` block.
#![deny(warnings)]

use std::future::Future;
use std::pin::Pin;

use redis_lock::{Error, redis_lock};

#[redis_lock(key = "a:<id>")]
fn opaque(id: u64) -> impl Future<Output = Result<u64, Error>> + Send {
    async move { Ok(id) }
}

#[redis_lock(key = "a:<id>", guard = lock)]
fn boxed<'a>(
    id: u64,
    name: &'a str,
) -> Pin<Box<dyn Future<Output = Result<(u64, &'a str), Error>> + Send + 'a>> {
    Box::pin(async move {
        if id == 0 {
            return Ok((lock.token(), name));
        }
        Ok((id, name))
    })
}

#[redis_lock(key = "a")]
fn without_arguments() -> impl Future<Output = Result<Box<dyn std::fmt::Display>, Error>> {
    async { Ok(Box::new(1)) }
}

struct Shop(u64);

impl Shop {
    #[redis_lock(key = "a:<self.0>")]
    fn method(&self, name: String) -> impl Future<Output = Result<String, Error>> + Send + '_ {
        async move { Ok(name + &self.0.to_string()) }
    }
}

pub fn main() {
    drop((
        opaque(1),
        boxed(1, "a"),
        without_arguments(),
        Shop(1).method(String::new()),
    ));
}
