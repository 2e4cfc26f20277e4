//! What `guard = name` binds.

use std::future::pending;
use std::time::Duration;

use redis_lock::{Error, Held, HeldAll, Mode, redis_lock, with_locker};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::{SOON, start};

#[redis_lock(key = "guard:<id>", guard = lock)]
async fn token(id: u64) -> Result<(u64, String, Mode), Error> {
    assert!(!lock.is_lost());
    assert!(lock.valid_for() > Duration::from_secs(1));
    let _ = id;
    Ok((lock.token(), lock.key().to_string(), lock.mode()))
}

#[tokio::test]
async fn its_token_is_the_locks() {
    let (_server, locker) = start().await;
    let before = locker.write("guard:1").await.expect("the lock");
    let earlier = before.token();
    before.unlock().await.expect("unlocked");

    let (token, key, mode) = with_locker(locker.clone(), token(1))
        .await
        .expect("the lock");
    assert_eq!((key.as_str(), mode), ("guard:1", Mode::Write));

    let after = locker.read("guard:1").await.expect("the lock");
    assert!(earlier < token && token < after.token());
    after.unlock().await.expect("unlocked");
}

#[redis_lock(key = "guard", mode = "r", guard = lock)]
async fn read() -> Result<Mode, Error> {
    Ok(lock.mode())
}

#[tokio::test]
async fn its_mode_is_the_locks() {
    let (_server, locker) = start().await;
    let mode = with_locker(locker, read()).await;
    assert!(matches!(mode, Ok(Mode::Read)), "{mode:?}");
}

#[redis_lock(key = "guard", ttl = "300ms", auto_extend = false, guard = lock)]
async fn pass_on(to: oneshot::Sender<Held>) -> Result<(), Error> {
    to.send(lock.clone()).expect("a listener");
    pending().await
}

#[tokio::test]
async fn it_is_told_of_the_loss_wherever_it_is() {
    let (_server, locker) = start().await;
    let (sender, passed_on) = oneshot::channel();
    let body = tokio::spawn(with_locker(locker, pass_on(sender)));
    let lock = passed_on.await.expect("a guard");
    assert!(!lock.is_lost());
    timeout(SOON, lock.lost()).await.expect("told in time");
    assert!(lock.is_lost() && lock.valid_for().is_zero());
    let error = body.await.expect("no panic");
    assert!(error.as_ref().is_err_and(Error::is_lost), "{error:?}");
}

#[redis_lock(key = ["guard:<b>", "guard:<a>", "guard:<b>"], guard = locks)]
async fn several(a: u64, b: u64) -> Result<HeldAll, Error> {
    let _ = (a, b);
    assert!(!locks.is_lost() && !locks.valid_for().is_zero());
    Ok(locks)
}

#[tokio::test]
async fn of_several_locks_each_is_found_by_its_key() {
    let (_server, locker) = start().await;
    let locks = with_locker(locker.clone(), several(1, 2))
        .await
        .expect("the locks");
    let keys: Vec<_> = locks.iter().map(|lock| lock.key().to_string()).collect();
    assert_eq!(keys, ["guard:1", "guard:2"]);
    assert!(locks.get("guard:3").is_none());
    for key in keys {
        let token = locks.get(&key).expect("one of them").token();
        let after = locker.write(key.as_str()).await.expect("the lock");
        assert!(token < after.token());
        after.unlock().await.expect("unlocked");
    }
}

#[tokio::test]
async fn of_several_locks_each_is_found_where_its_key_stands() {
    let (_server, locker) = start().await;
    let locks = with_locker(locker, several(1, 2)).await.expect("the locks");
    let keys = [0, 1, 2].map(|position| locks[position].key().to_string());
    assert_eq!(keys, ["guard:2", "guard:1", "guard:2"]);
    assert_eq!(locks[0].token(), locks[2].token());
    assert_ne!(locks[0].token(), locks[1].token());
}

#[redis_lock(key = ["guard:1", "guard:2"], ttl = "300ms", auto_extend = false, guard = locks)]
async fn pass_on_several(to: oneshot::Sender<HeldAll>) -> Result<(), Error> {
    to.send(locks).expect("a listener");
    pending().await
}

#[tokio::test]
async fn of_several_locks_one_that_is_lost_is_told() {
    let (_server, locker) = start().await;
    let (sender, passed_on) = oneshot::channel();
    let body = tokio::spawn(with_locker(locker, pass_on_several(sender)));
    let locks = passed_on.await.expect("the guards");
    timeout(SOON, locks.lost()).await.expect("told in time");
    assert!(locks.is_lost());
    assert!(body.await.expect("no panic").is_err());
}
