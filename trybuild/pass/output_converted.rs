//! Errors that `?` converts.
#![deny(warnings)]

use std::fmt;

use redis_lock::redis_lock;

#[derive(Debug)]
enum ShopError {
    Lock(redis_lock::Error),
    SoldOut,
}

impl From<redis_lock::Error> for ShopError {
    fn from(error: redis_lock::Error) -> Self {
        Self::Lock(error)
    }
}

impl From<fmt::Error> for ShopError {
    fn from(_: fmt::Error) -> Self {
        Self::SoldOut
    }
}

#[redis_lock(key = "a")]
async fn converted(text: &mut String) -> Result<(), ShopError> {
    fmt::write(text, format_args!("a"))?;
    if text.is_empty() {
        Err(ShopError::SoldOut)?;
    }
    Ok(())
}

pub fn main() {
    drop(converted(&mut String::new()));
    let _ = |error| matches!(error, ShopError::Lock(error) if error.is_lost());
}
