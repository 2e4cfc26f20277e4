//! Two locks on one function, and other attributes around it.
#![deny(warnings)]

use redis_lock::{Error, redis_lock};

#[redis_lock(key = "shop", mode = "r")]
#[redis_lock(key = "order:<id>")]
#[must_use]
#[inline]
async fn nested(id: u64, mut owned: Vec<u8>) -> Result<usize, Error> {
    owned.push(1);
    Ok(owned.len())
}

#[redis_lock(key = "main")]
#[tokio::main]
async fn program() -> Result<(), Error> {
    #![allow(unused_variables)]
    let unused = 1;
    nested(1, Vec::new()).await?;
    Ok(())
}

#[redis_lock(key = "test")]
#[tokio::test]
async fn test() -> Result<(), Error> {
    Ok(())
}

fn main() {
    // Without a Locker, the body does not run.
    assert!(matches!(program(), Err(Error::NotInitialized)));
}
