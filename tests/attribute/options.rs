//! How long it waits, how long it holds, and with which Locker.

use std::future::pending;
use std::time::{Duration, Instant};

use redis_lock::{Error, Locker, Mode, redis_lock, with_locker};
use tokio::time::{sleep, timeout};

use super::{LONG, SOON, is_locked_elsewhere, start};

#[redis_lock(key = "wait", wait = "200ms")]
async fn wait_fixed() -> Result<(), Error> {
    Ok(())
}

#[redis_lock(key = "wait", wait = limit)]
async fn wait_given(limit: Duration) -> Result<(), Error> {
    Ok(())
}

#[redis_lock(key = "wait", wait = "forever")]
async fn wait_forever() -> Result<(), Error> {
    Ok(())
}

#[tokio::test]
async fn waits_as_long_as_it_says() {
    let (_server, locker) = start().await;
    let holder = locker.write("wait").await.expect("the lock");
    let locker = locker.wait(LONG);

    let begun = Instant::now();
    let error = with_locker(locker.clone(), wait_fixed())
        .await
        .expect_err("contended");
    assert!(error.is_contended(), "{error}");
    let waited = begun.elapsed();
    assert!(
        waited >= Duration::from_millis(200) && waited < SOON,
        "{waited:?}"
    );

    let begun = Instant::now();
    let error = with_locker(locker.clone(), wait_given(Duration::ZERO))
        .await
        .expect_err("contended");
    assert!(error.is_contended(), "{error}");
    assert!(begun.elapsed() < SOON);

    // Longer than its locker would.
    let waiter = tokio::spawn(with_locker(locker.wait(Duration::ZERO), wait_forever()));
    sleep(Duration::from_millis(100)).await;
    assert!(!waiter.is_finished());
    holder.unlock().await.expect("unlocked");
    let waited = timeout(SOON, waiter)
        .await
        .expect("in time")
        .expect("no panic");
    waited.expect("the lock");
}

#[redis_lock(key = "ttl", ttl = "300ms")]
async fn hold_for_a_short_lease() -> Result<(), Error> {
    pending().await
}

#[tokio::test]
async fn leases_as_long_as_it_says() {
    let (_server, locker) = start().await;
    // Without extension, the lease alone ends it: after the attribute's ttl, not the locker's.
    let begun = Instant::now();
    let locked = with_locker(
        locker.auto_extend(false).ttl(LONG),
        hold_for_a_short_lease(),
    );
    let error = timeout(SOON, locked)
        .await
        .expect("in time")
        .expect_err("lost");
    assert!(error.is_lost(), "{error}");
    assert!(begun.elapsed() > Duration::from_millis(100));
}

#[redis_lock(key = "hold", max_hold = "300ms")]
async fn hold_until_it_is_too_long() -> Result<(), Error> {
    pending().await
}

#[redis_lock(key = "hold", max_hold = limit)]
async fn hold_until(limit: Duration) -> Result<(), Error> {
    pending().await
}

#[tokio::test]
async fn holds_no_longer_than_it_says() {
    let (_server, locker) = start().await;
    let limit = Duration::from_millis(300);
    let begun = Instant::now();
    let fixed = with_locker(locker.clone(), hold_until_it_is_too_long());
    let error = timeout(SOON, fixed).await.expect("in time");
    assert!(error.as_ref().is_err_and(Error::is_lost), "{error:?}");
    assert!(begun.elapsed() > limit / 2);

    let given = with_locker(locker, hold_until(limit));
    let error = timeout(SOON, given).await.expect("in time");
    assert!(error.as_ref().is_err_and(Error::is_lost), "{error:?}");
}

#[redis_lock(key = "extend", ttl = "300ms", auto_extend = true)]
async fn extend(time: Duration) -> Result<(), Error> {
    sleep(time).await;
    Ok(())
}

#[redis_lock(key = "extend", ttl = "300ms", auto_extend = false)]
async fn do_not_extend(time: Duration) -> Result<(), Error> {
    sleep(time).await;
    Ok(())
}

#[tokio::test]
async fn extends_its_lease_if_it_says_so() {
    let (_server, locker) = start().await;
    let long = Duration::from_millis(800);
    // Each against what its locker would do.
    let extended = with_locker(locker.clone().auto_extend(false), extend(long)).await;
    assert!(extended.is_ok(), "{extended:?}");
    let error = with_locker(locker.auto_extend(true), do_not_extend(long)).await;
    assert!(error.as_ref().is_err_and(Error::is_lost), "{error:?}");
}

struct Shop {
    locker: Locker,
}

impl Shop {
    #[redis_lock(key = "shop", locker = self.locker)]
    async fn open(&self, here: &Locker, there: &Locker) -> Result<(bool, bool), Error> {
        let (here, there) = (
            is_locked_elsewhere(here, "shop"),
            is_locked_elsewhere(there, "shop"),
        );
        Ok((here.await, there.await))
    }
}

#[redis_lock(key = "shop", locker = locker.clone().wait(Duration::ZERO))]
async fn open(locker: Locker) -> Result<Locker, Error> {
    Ok(locker)
}

#[tokio::test]
async fn its_own_locker_comes_before_the_one_in_scope() {
    let (_server, here) = start().await;
    let (_other_server, there) = start().await;
    let shop = Shop {
        locker: here.clone(),
    };
    let locked = with_locker(there.clone(), shop.open(&here, &there)).await;
    assert!(matches!(locked, Ok((true, false))), "{locked:?}");
    // None in scope.
    let locked = shop.open(&here, &there).await;
    assert!(matches!(locked, Ok((true, false))), "{locked:?}");
}

#[tokio::test]
async fn its_own_locker_keeps_its_options() {
    let (_server, locker) = start().await;
    let holder = locker.write("shop").await.expect("the lock");
    let begun = Instant::now();
    let error = open(locker.wait(LONG)).await.expect_err("contended");
    assert!(error.is_contended(), "{error}");
    assert!(begun.elapsed() < SOON);
    holder.unlock().await.expect("unlocked");
}

/// Would not be noticed if `::redis_lock` were meant in spite of it.
mod facade {
    pub(super) mod __private {
        pub(in super::super) use ::redis_lock::__private::*;

        pub(in super::super) fn held() -> &'static str {
            "by the facade"
        }
    }
}

#[redis_lock(key = "facade", crate = facade, guard = lock)]
async fn by_another_path() -> Result<&'static str, Error> {
    Ok(lock)
}

#[tokio::test]
async fn the_crate_is_found_by_its_path() {
    let (_server, locker) = start().await;
    let lock = with_locker(locker, by_another_path()).await;
    assert!(matches!(lock, Ok("by the facade")), "{lock:?}");
}

#[redis_lock(key = "namespace", namespace = "shop")]
async fn namespace_fixed(locker: &Locker) -> Result<bool, Error> {
    Ok(is_locked_elsewhere(&locker.clone().namespace("shop"), "namespace").await)
}

#[redis_lock(key = "namespace", namespace = format!("shop:{tenant}"))]
async fn namespace_given(tenant: &str, locker: &Locker) -> Result<bool, Error> {
    Ok(is_locked_elsewhere(&locker.clone().namespace("shop:a"), "namespace").await)
}

#[tokio::test]
async fn locks_in_the_namespace_that_it_says() {
    let (_server, locker) = start().await;
    let locked = with_locker(locker.clone(), namespace_fixed(&locker)).await;
    assert!(locked.expect("the lock"));
    for tenant in ["a", "b"] {
        let locked = with_locker(locker.clone(), namespace_given(tenant, &locker)).await;
        assert_eq!(locked.expect("the lock"), tenant == "a");
    }
    let refused = with_locker(locker.clone(), namespace_given("#", &locker)).await;
    assert!(matches!(
        refused,
        Err(Error::InvalidOptions {
            option: "namespace",
            ..
        })
    ));
}

#[redis_lock(key = "mode", mode = if urgent { Mode::Write } else { Mode::Read }, guard = lock)]
async fn mode_of_an_argument(urgent: bool) -> Result<Mode, Error> {
    Ok(lock.mode())
}

#[tokio::test]
async fn holds_in_the_mode_that_an_expression_gives() {
    let (_server, locker) = start().await;
    let reader = locker.read("mode").await.expect("the lock");
    let locker = locker.wait(Duration::ZERO);
    let mode = with_locker(locker.clone(), mode_of_an_argument(false)).await;
    assert_eq!(mode.expect("beside the other reader"), Mode::Read);
    let error = with_locker(locker, mode_of_an_argument(true)).await;
    assert!(error.is_err_and(|error| error.is_contended()));
    reader.unlock().await.expect("unlocked");
}

#[redis_lock(key = "command", command_timeout = limit)]
async fn command_timeout_given(limit: Duration) -> Result<(), Error> {
    Ok(())
}

/// Shown by what the library refuses.
#[tokio::test]
async fn waits_for_commands_as_long_as_it_says() {
    let (_server, locker) = start().await;
    let fine = with_locker(locker.clone(), command_timeout_given(SOON)).await;
    fine.expect("the lock");
    let refused = with_locker(locker, command_timeout_given(Duration::from_millis(5))).await;
    assert!(matches!(
        refused,
        Err(Error::InvalidOptions {
            option: "command_timeout",
            ..
        })
    ));
}
