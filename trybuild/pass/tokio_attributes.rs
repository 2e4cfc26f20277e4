//! Above the attributes that make a plain function of an async one.
#![deny(warnings)]

use redis_lock::{Error, redis_lock};

#[redis_lock(key = "main")]
#[tokio::main]
async fn program() -> Result<(), Error> {
    #![allow(unused_variables)]
    let unused = 1;
    Ok(())
}

#[ignore = "there is nothing to connect to"]
#[redis_lock(key = "test")]
#[tokio::test]
async fn test() -> Result<(), Error> {
    Ok(())
}

pub fn main() {
    // Without a Locker, the body does not run.
    assert!(matches!(program(), Err(Error::NotInitialized)));
}
