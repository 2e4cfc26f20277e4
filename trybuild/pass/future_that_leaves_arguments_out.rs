//! A function that returns a future may keep arguments out of it: what its block does not use need not live as long,
//! nor be `Send`.
#![deny(warnings)]

use std::{future::Future, pin::Pin, rc::Rc};

use redis_lock::{Error, redis_lock};

pub struct Shop;

impl Shop {
    #[redis_lock(key = "order:<id>")]
    pub fn ship(&self, id: u64) -> Pin<Box<dyn Future<Output = Result<u64, Error>> + Send>> {
        Box::pin(async move { Ok(id) })
    }
}

#[redis_lock(key = "order:<id>")]
pub fn track(id: u64, _local: Rc<u8>) -> impl Future<Output = Result<u64, Error>> + Send {
    async move { Ok(id) }
}

pub fn main() {
    let _ = (Shop.ship(1), track(1, Rc::new(1)));
}
