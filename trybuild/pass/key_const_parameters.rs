//! Const parameters in a key.
#![deny(warnings)]

use redis_lock::{Error, redis_lock};

#[redis_lock(key = "shard:<N:02>:<B>:<C:?>")]
async fn shard<const N: usize, const B: bool, const C: char>() -> Result<(), Error> {
    Ok(())
}

pub fn main() {
    drop(shard::<3, true, 'a'>());
}
