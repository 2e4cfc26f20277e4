//! The lock's handle in the body: owned, sent on, kept.
#![deny(warnings)]

use std::time::Duration;

use redis_lock::{Error, Held, Key, Mode, redis_lock};

#[redis_lock(key = "order:<id>", guard = lock)]
async fn everything(id: u64) -> Result<u64, Error> {
    let (key, mode, token): (&Key, Mode, u64) = (lock.key(), lock.mode(), lock.token());
    let (lost, left): (bool, Duration) = (lock.is_lost(), lock.valid_for());
    assert!(*key == *"order:1" && mode == Mode::Write && !lost && left > Duration::ZERO);
    Ok(token + id)
}

#[redis_lock(key = "order:<id>", guard = lock)]
async fn sent_on(id: u64) -> Result<u64, Error> {
    let kept: Held = lock.clone();
    tokio::spawn(async move { lock.lost().await });
    Ok(kept.token() + id)
}

#[redis_lock(key = "order", guard = _lock)]
async fn ignored() -> Result<(), Error> {
    Ok(())
}

#[redis_lock(key = "order", guard = r#type)]
async fn raw() -> Result<u64, Error> {
    Ok(r#type.token())
}

#[redis_lock(key = "order", guard = lock)]
async fn returned() -> Result<Held, Error> {
    Ok(lock)
}

#[redis_lock(key = "order", guard = keys)]
async fn named_as_ours() -> Result<u64, Error> {
    Ok(keys.token())
}

#[redis_lock(key = "order", guard = lock)]
async fn shadowed(id: u64) -> Result<u64, Error> {
    let lock = lock.token() + id;
    Ok(lock)
}

fn assert_send(_: impl Send) {}

pub fn main() {
    assert_send(everything(1));
    let _ = (
        sent_on(1),
        ignored(),
        raw(),
        returned(),
        named_as_ours(),
        shadowed(1),
    );
}
