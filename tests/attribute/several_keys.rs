//! A list of keys: all of them or none, whatever the order they are written in.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use redis_lock::{Error, Key, Locker, Mode, redis_lock, with_locker};
use tokio::time::{sleep, timeout};

use super::{LONG, is_locked, is_locked_elsewhere, start};

#[redis_lock(key = ["account:<from>", "account:<to>"], wait = "0s")]
async fn transfer(from: u64, to: u64, locker: &Locker) -> Result<Vec<bool>, Error> {
    let mut locked = Vec::new();
    for account in [from, to] {
        locked.push(is_locked_elsewhere(locker, &format!("account:{account}")).await);
    }
    Ok(locked)
}

#[tokio::test]
async fn every_one_of_them_is_locked() {
    let (_server, locker) = start().await;
    for (from, to) in [(1, 2), (2, 1)] {
        let locked = with_locker(locker.clone(), transfer(from, to, &locker)).await;
        assert_eq!(locked.expect("the locks"), [true, true]);
    }
    for key in ["account:1", "account:2"] {
        assert!(!is_locked(&locker, key).await, "{key}");
    }
}

#[tokio::test]
async fn any_one_of_them_shuts_out_and_none_is_kept() {
    let (_server, locker) = start().await;
    for (held, other) in [("account:1", "account:2"), ("account:2", "account:1")] {
        let holder = locker.write(held).await.expect("the lock");
        let error = with_locker(locker.clone(), transfer(1, 2, &locker)).await;
        assert!(error.as_ref().is_err_and(Error::is_contended), "{error:?}");
        assert!(super::is_free_soon(&locker, other).await, "{other}");
        holder.unlock().await.expect("unlocked");
    }
}

#[tokio::test]
async fn the_same_one_twice_is_one() {
    let (_server, locker) = start().await;
    let locked = with_locker(locker.clone(), transfer(1, 1, &locker)).await;
    assert_eq!(locked.expect("the lock"), [true, true]);
}

#[redis_lock(key = ["account:<a>", "account:<b>"], wait = "10s")]
async fn there(a: u64, b: u64, inside: &AtomicUsize) -> Result<usize, Error> {
    meanwhile(a + b, inside).await
}

#[redis_lock(key = ["account:<b>", "account:<a>"], wait = "10s")]
async fn back(a: u64, b: u64, inside: &AtomicUsize) -> Result<usize, Error> {
    meanwhile(a + b, inside).await
}

/// How many were inside.
async fn meanwhile(_accounts: u64, inside: &AtomicUsize) -> Result<usize, Error> {
    let others = inside.fetch_add(1, SeqCst);
    sleep(Duration::from_millis(2)).await;
    inside.fetch_sub(1, SeqCst);
    Ok(others + 1)
}

#[tokio::test]
async fn the_order_they_are_written_in_does_not_matter() {
    let (_server, locker) = start().await;
    let inside: &'static AtomicUsize = Box::leak(Box::default());
    let tasks: Vec<_> = (0..20)
        .map(|_| {
            let both = async { tokio::join!(there(1, 2, inside), back(1, 2, inside)) };
            tokio::spawn(with_locker(locker.clone(), both))
        })
        .collect();
    let all = async {
        for task in tasks {
            let (there, back) = task.await.expect("no panic");
            assert_eq!((there.expect("its turn"), back.expect("its turn")), (1, 1));
        }
    };
    timeout(LONG, all).await.expect("nobody waits for ever");
}

#[redis_lock(key = [r("modes:<a>"), w("modes:<b>"), "modes:<c>"], mode = mode, guard = locks)]
async fn in_modes(a: u64, b: u64, c: u64, mode: Mode) -> Result<[Mode; 3], Error> {
    Ok([0, 1, 2].map(|position| locks[position].mode()))
}

#[tokio::test]
async fn each_has_its_own_mode_or_that_of_all() {
    use Mode::{Read, Write};

    let (_server, locker) = start().await;
    for ((a, b, c, mode), modes) in [
        ((1, 2, 3, Read), [Read, Write, Read]),
        ((1, 2, 3, Write), [Read, Write, Write]),
        ((3, 2, 1, Write), [Read, Write, Write]),
        // The same key in two modes is held in the stronger.
        ((1, 1, 2, Read), [Write, Write, Read]),
        ((1, 2, 1, Write), [Write, Write, Write]),
    ] {
        let held = with_locker(locker.clone(), in_modes(a, b, c, mode)).await;
        assert_eq!(held.expect("the locks"), modes, "{a} {b} {c} {mode}");
    }
}

#[redis_lock(key = [name(made), "list", name(made)], mode = "r")]
async fn made_in_turn(made: &AtomicUsize) -> Result<usize, Error> {
    Ok(made.load(SeqCst))
}

fn name(made: &AtomicUsize) -> Key {
    made.fetch_add(1, SeqCst);
    Key::from("made")
}

#[tokio::test]
async fn each_is_made_once_and_shared_by_readers() {
    let (_server, locker) = start().await;
    let made = AtomicUsize::new(0);
    let reader = locker.read("list").await.expect("the lock");
    let read = with_locker(locker, made_in_turn(&made)).await;
    assert!(matches!(read, Ok(2)), "{read:?}");
    reader.unlock().await.expect("unlocked");
}
