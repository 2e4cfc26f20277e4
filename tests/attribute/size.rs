//! What an annotated function costs in the size of its future.

#![expect(
    clippy::large_types_passed_by_value,
    reason = "it is their size that is measured"
)]

use std::future::ready;

use redis_lock::{Error, redis_lock};

const LARGE: usize = 4096;

async fn plain(argument: [u8; LARGE]) -> Result<u8, Error> {
    ready(()).await;
    Ok(argument[0])
}

#[redis_lock(key = "size:<argument.len()>")]
async fn locked(argument: [u8; LARGE]) -> Result<u8, Error> {
    ready(()).await;
    Ok(argument[0])
}

#[redis_lock(key = ["size", "<argument.len()>"], guard = locks, on_contended = Ok(0), map_err = |error| error)]
async fn locked_with_everything(argument: [u8; LARGE]) -> Result<u8, Error> {
    ready(()).await;
    Ok(argument[usize::from(locks.is_lost())])
}

#[test]
fn arguments_are_not_stored_once_more() {
    let large = [0; LARGE];
    let plain = size_of_val(&plain(large));
    let limit = plain * 16 / 10 + 1024;
    for locked in [
        size_of_val(&locked(large)),
        size_of_val(&locked_with_everything(large)),
    ] {
        assert!(locked <= limit, "{locked} bytes against {plain} without");
    }
}
