//! What the function returns: its own results, the lock's errors, and what stands in for them.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use redis_lock::{Error, redis_lock, with_locker};
use tokio::time::sleep;

use super::{is_locked, start};

#[derive(Debug)]
enum ShopError {
    Lock(Error),
    SoldOut,
    Parse,
}

impl From<Error> for ShopError {
    fn from(error: Error) -> Self {
        Self::Lock(error)
    }
}

impl From<std::num::ParseIntError> for ShopError {
    fn from(_: std::num::ParseIntError) -> Self {
        Self::Parse
    }
}

#[redis_lock(key = "sell:<amount>")]
async fn sell(amount: &str) -> Result<u64, ShopError> {
    if amount.is_empty() {
        return Err(ShopError::SoldOut);
    }
    let amount = amount.parse::<u64>()?;
    if amount == 0 {
        return Ok(1);
    }
    Ok(amount * 2)
}

#[tokio::test]
async fn every_way_out_of_the_body_gives_its_value_and_the_lock_back() {
    let (_server, locker) = start().await;
    let sell = async |amount: &'static str| with_locker(locker.clone(), sell(amount)).await;
    assert!(matches!(sell("21").await, Ok(42)));
    assert!(matches!(sell("0").await, Ok(1)));
    assert!(matches!(sell("x").await, Err(ShopError::Parse)));
    assert!(matches!(sell("").await, Err(ShopError::SoldOut)));
    for key in ["sell:21", "sell:0", "sell:x", "sell:"] {
        assert!(!is_locked(&locker, key).await, "{key}");
    }
}

#[tokio::test]
async fn the_locks_error_becomes_the_functions() {
    let (_server, locker) = start().await;
    let holder = locker.write("sell:1").await.expect("the lock");
    let sold = with_locker(locker.wait(Duration::ZERO), sell("1")).await;
    assert!(
        matches!(&sold, Err(ShopError::Lock(error)) if error.is_contended()),
        "{sold:?}"
    );
    holder.unlock().await.expect("unlocked");
}

/// No test of this program may call `redis_lock::init`, or this one could not see what happens without.
#[tokio::test]
async fn without_a_locker_the_body_does_not_run() {
    let sold = sell("1").await;
    assert!(
        matches!(sold, Err(ShopError::Lock(Error::NotInitialized))),
        "{sold:?}"
    );
}

#[redis_lock(key = "job", wait = "0s", on_contended = Ok(id))]
async fn job(id: usize, ran: &AtomicUsize) -> Result<usize, Error> {
    ran.fetch_add(1, SeqCst);
    Ok(id + 100)
}

#[tokio::test]
async fn something_else_is_returned_instead_of_the_body() {
    let (_server, locker) = start().await;
    let ran = AtomicUsize::new(0);
    let holder = locker.write("job").await.expect("the lock");
    let skipped = with_locker(locker.clone(), job(1, &ran)).await;
    assert!(matches!(skipped, Ok(1)), "{skipped:?}");
    assert_eq!(ran.load(SeqCst), 0);

    holder.unlock().await.expect("unlocked");
    let done = with_locker(locker, job(1, &ran)).await;
    assert!(matches!(done, Ok(101)), "{done:?}");
    assert_eq!(ran.load(SeqCst), 1);
}

#[redis_lock(key = "job", ttl = "300ms", auto_extend = false, on_contended = Ok(()))]
async fn job_that_loses_its_lock() -> Result<(), Error> {
    sleep(Duration::from_secs(1)).await;
    Ok(())
}

#[tokio::test]
async fn other_errors_are_not_hidden() {
    let (_server, locker) = start().await;
    let ran = AtomicUsize::new(0);
    let error = job(1, &ran).await;
    assert!(matches!(error, Err(Error::NotInitialized)), "{error:?}");
    let error = with_locker(locker.clone().ttl(Duration::ZERO), job(1, &ran)).await;
    assert!(
        matches!(error, Err(Error::InvalidOptions { .. })),
        "{error:?}"
    );
    assert_eq!(ran.load(SeqCst), 0);
    let error = with_locker(locker, job_that_loses_its_lock()).await;
    assert!(error.as_ref().is_err_and(Error::is_lost), "{error:?}");
}

/// Not `From<Error>`.
#[derive(Debug, PartialEq)]
enum Mapped {
    Busy,
    Lock(String),
    Own,
}

#[redis_lock(key = "map:<id>", wait = "0s", map_err = |error| Mapped::Lock(format!("{id}: {error}")))]
async fn mapped(id: u64) -> Result<(), Mapped> {
    if id == 0 {
        return Err(Mapped::Own);
    }
    Ok(())
}

#[redis_lock(key = "map:<id>", wait = "0s", on_contended = Err(Mapped::Busy), map_err = lock_error)]
async fn mapped_apart(id: u64) -> Result<(), Mapped> {
    let _ = id;
    Ok(())
}

fn lock_error(error: Error) -> Mapped {
    match error {
        Error::NotInitialized => Mapped::Lock("none".to_owned()),
        error => Mapped::Lock(error.to_string()),
    }
}

#[tokio::test]
async fn the_locks_error_is_mapped() {
    let (_server, locker) = start().await;
    let holder = locker.write("map:1").await.expect("the lock");
    let error = with_locker(locker.clone(), mapped(1)).await;
    assert!(
        matches!(&error, Err(Mapped::Lock(text)) if text.starts_with("1: lock \"map:1\"")),
        "{error:?}"
    );
    let busy = with_locker(locker.clone(), mapped_apart(1)).await;
    assert_eq!(busy, Err(Mapped::Busy));
    assert_eq!(mapped_apart(1).await, Err(Mapped::Lock("none".to_owned())));
    holder.unlock().await.expect("unlocked");

    // The body's own are not.
    assert_eq!(
        with_locker(locker.clone(), mapped(0)).await,
        Err(Mapped::Own)
    );
    assert_eq!(with_locker(locker.clone(), mapped(1)).await, Ok(()));
    assert_eq!(with_locker(locker, mapped_apart(1)).await, Ok(()));
}
