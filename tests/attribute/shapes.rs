//! Functions of other shapes run under their locks too.

use std::future::Future;
use std::pin::Pin;

use async_trait::async_trait;
use redis_lock::{Error, Locker, redis_lock, with_locker};

use super::{is_locked, is_locked_elsewhere, start};

#[async_trait]
trait Ship {
    async fn ship(&mut self, id: u64, locker: &Locker) -> Result<bool, Error>;

    #[redis_lock(key = "default:<id>")]
    async fn by_default(&self, id: u64, locker: &Locker) -> Result<bool, Error> {
        Ok(is_locked_elsewhere(locker, &format!("default:{id}")).await)
    }
}

struct Shop {
    name: &'static str,
    shipped: u64,
}

#[async_trait]
impl Ship for Shop {
    #[redis_lock(key = "<self.name>:<id>", guard = lock)]
    async fn ship(&mut self, id: u64, locker: &Locker) -> Result<bool, Error> {
        if id == 0 {
            return Ok(lock.is_lost());
        }
        self.shipped += id;
        Ok(is_locked_elsewhere(locker, &format!("{}:{id}", self.name)).await)
    }
}

#[tokio::test]
async fn methods_under_async_trait() {
    let (_server, locker) = start().await;
    let mut shop = Shop {
        name: "shop",
        shipped: 0,
    };
    // On another thread, as a `dyn` trait.
    let (outside, inside) = (locker.clone(), locker.clone());
    let shipped = tokio::spawn(with_locker(locker.clone(), async move {
        let ship: &mut (dyn Ship + Send) = &mut shop;
        let shipped = ship.ship(1, &inside).await;
        (shipped, shop.shipped)
    }));
    let shipped = shipped.await.expect("no panic");
    assert!(matches!(shipped, (Ok(true), 1)), "{shipped:?}");
    assert!(!is_locked(&outside, "shop:1").await);

    let shop = Shop {
        name: "shop",
        shipped: 0,
    };
    let shipped = with_locker(locker, shop.by_default(1, &outside)).await;
    assert!(matches!(shipped, Ok(true)), "{shipped:?}");
}

#[tokio::test]
async fn methods_under_async_trait_are_shut_out() {
    let (_server, locker) = start().await;
    let mut shop = Shop {
        name: "shop",
        shipped: 0,
    };
    let holder = locker.write("shop:1").await.expect("the lock");
    let inside = locker.clone();
    let error = with_locker(locker, shop.ship(1, &inside)).await;
    assert!(error.as_ref().is_err_and(Error::is_contended), "{error:?}");
    assert_eq!(shop.shipped, 0);
    holder.unlock().await.expect("unlocked");
}

#[expect(clippy::manual_async_fn, reason = "this is the shape to be tested")]
#[redis_lock(key = "future:<id>")]
fn returned(id: u64, locker: &Locker) -> impl Future<Output = Result<bool, Error>> + Send {
    async move { Ok(is_locked_elsewhere(locker, &format!("future:{id}")).await) }
}

#[redis_lock(key = "future:<id>")]
fn boxed(
    id: u64,
    locker: &Locker,
) -> Pin<Box<dyn Future<Output = Result<bool, Error>> + Send + '_>> {
    Box::pin(async move { Ok(is_locked_elsewhere(locker, &format!("future:{id}")).await) })
}

#[tokio::test]
async fn functions_that_return_a_future() {
    let (_server, locker) = start().await;
    let locked = with_locker(locker.clone(), returned(1, &locker)).await;
    assert!(matches!(locked, Ok(true)), "{locked:?}");
    let locked = with_locker(locker.clone(), boxed(1, &locker)).await;
    assert!(matches!(locked, Ok(true)), "{locked:?}");
    assert!(!is_locked(&locker, "future:1").await);
}

#[redis_lock(key = "upper", wait = "0s")]
#[redis_lock(key = "lower", wait = "0s")]
async fn twice(locker: &Locker) -> Result<(bool, bool), Error> {
    let upper = is_locked_elsewhere(locker, "upper").await;
    Ok((upper, is_locked_elsewhere(locker, "lower").await))
}

#[tokio::test]
async fn of_two_attributes_the_lower_one_is_outside() {
    let (_server, locker) = start().await;
    let locked = with_locker(locker.clone(), twice(&locker)).await;
    assert!(matches!(locked, Ok((true, true))), "{locked:?}");

    let upper = locker.write("upper").await.expect("the lock");
    let lower = locker.write("lower").await.expect("the lock");
    let error = with_locker(locker.clone(), twice(&locker)).await;
    assert!(
        matches!(&error, Err(Error::Contended { key, .. }) if *key == "lower"),
        "{error:?}"
    );
    upper.unlock().await.expect("unlocked");
    lower.unlock().await.expect("unlocked");
}
