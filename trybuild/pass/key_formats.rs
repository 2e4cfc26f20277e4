//! The formats of `format!` in a key.
#![deny(warnings)]

use redis_lock::{Error, redis_lock};

#[derive(Debug)]
struct Id(#[allow(dead_code)] u64);

#[redis_lock(key = "<n:04>:<n:#x>:<n:+>:<n:*^9>:<rate:.2>:<rate:08.3>:<rate:e>")]
async fn numbers(n: u64, rate: f64) -> Result<(), Error> {
    Ok(())
}

#[redis_lock(key = "<id:?>:<pair.0:?>:<ids.len():02>:<ids:x?>:<id:#?>")]
async fn debugged(id: Id, pair: (Option<u8>, u8), ids: Vec<u8>) -> Result<(), Error> {
    Ok(())
}

pub fn main() {
    let _ = (numbers(1, 0.5), debugged(Id(1), (None, 1), Vec::new()));
}
