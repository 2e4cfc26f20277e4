//! Any `Result`, by whatever name; what the body returns is inferred and coerced as without the attribute.
#![deny(warnings)]

use std::error::Error as StdError;
use std::fmt::{self, Display};

use redis_lock::redis_lock;

type Alias<T = ()> = Result<T, Box<dyn StdError + Send + Sync>>;

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
async fn alias() -> Alias {
    Ok(())
}

#[redis_lock(key = "a")]
async fn error_from_text(fail: bool) -> Alias<u8> {
    if fail {
        return Err("failed".into());
    }
    Ok("1".parse()?)
}

#[redis_lock(key = "a")]
async fn coerced(number: bool) -> Result<Box<dyn Display + Send>, ShopError> {
    if number {
        return Ok(Box::new(1));
    }
    Ok(Box::new("a"))
}

#[redis_lock(key = "a")]
async fn converted(text: &mut String) -> Result<(), ShopError> {
    fmt::write(text, format_args!("a"))?;
    if text.is_empty() {
        Err(ShopError::SoldOut)?;
    }
    Ok(())
}

#[redis_lock(key = "a")]
async fn opaque_inside() -> Result<impl Iterator<Item = u8> + Send, redis_lock::Error> {
    Ok([1, 2].into_iter())
}

#[redis_lock(key = "a")]
async fn opaque() -> impl Into<Result<u8, ShopError>> {
    Ok::<_, ShopError>(1)
}

#[redis_lock(key = "a")]
async fn never_ends() -> Result<std::convert::Infallible, ShopError> {
    loop {
        std::future::ready(()).await;
    }
}

#[redis_lock(key = "a")]
async fn diverges() -> Result<(), ShopError> {
    panic!("always")
}

#[redis_lock(key = "a")]
async fn shadows_its_type() -> Result<Fruit, ShopError> {
    use Fruit::*;
    if rotten() {
        return Err(ShopError::SoldOut);
    }
    Ok(Result)
}

enum Fruit {
    Result,
}

fn rotten() -> bool {
    let _ = Fruit::Result;
    false
}

fn main() {
    let _ = (alias(), error_from_text(true), coerced(true), opaque_inside(), opaque());
    let _ = (never_ends(), diverges(), shadows_its_type());
    drop(converted(&mut String::new()));
}
