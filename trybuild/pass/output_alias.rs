//! A `Result` by other names.
#![deny(warnings)]

use std::error::Error as StdError;

use redis_lock::{Error, redis_lock};

type Alias<T = ()> = Result<T, Box<dyn StdError + Send + Sync>>;

struct Shop;

impl Shop {
    #[redis_lock(key = "a")]
    async fn of_self() -> Result<Self, Error> {
        Ok(Self)
    }
}

#[redis_lock(key = "a")]
async fn alias() -> Alias {
    Ok(())
}

#[redis_lock(key = "a")]
async fn qualified() -> std::result::Result<u8, Error> {
    Ok(1)
}

#[redis_lock(key = "a")]
async fn error_from_text(fail: bool) -> Alias<u8> {
    if fail {
        return Err("failed".into());
    }
    Ok("1".parse()?)
}

pub fn main() {
    let _ = (alias(), qualified(), error_from_text(true), Shop::of_self());
}
