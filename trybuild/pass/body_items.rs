//! Items, labels and loops in the body.
#![deny(warnings)]

use redis_lock::{Error, redis_lock};

#[redis_lock(key = "a:<id>")]
async fn items(id: u64) -> Result<u64, Error> {
    use std::convert::identity;
    const MORE: u64 = 1;
    fn add(id: u64) -> u64 {
        id + MORE
    }
    let sum = 'found: {
        if id > 1 {
            break 'found add(id);
        }
        0
    };
    'outer: loop {
        loop {
            break 'outer;
        }
    }
    Ok(identity(sum))
}

pub fn main() {
    drop(items(1));
}
